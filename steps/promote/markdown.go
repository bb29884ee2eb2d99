package promote

import (
	"fmt"
	"strings"
	"unicode"
)

// markdown returns the plan for a person who is to agree to it, such as in a merge request's comment.
func (p *plan) markdown(items []*item, failure error) string {
	var text strings.Builder
	fmt.Fprintf(&text, "### Promotion plan: %s from %s to %s\n\n", images(len(p.Images)), code(p.Source), code(p.Target))
	if failure != nil {
		fmt.Fprintf(&text, "**%s:** %s\n\n", refusedOrUnknown(failure, "It would be refused", "What would be done could not be found out"),
			code(failure.Error()))
	}
	text.WriteString("| image | from | to | promotion | digest | revision | built |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for i, one := range p.Images {
		it := items[i]
		promotion := string(one.Promotion)
		switch {
		case it.err != nil:
			promotion = "**" + refusedOrUnknown(it.err, "refused", "not known") + ":** " + code(it.err.Error())
		case one.Replaced != "":
			promotion = fmt.Sprintf("**%s:** replaces %s, which is kept as %s", one.Promotion, code(one.Replaced), code(one.Backup))
			if one.Reason != "" {
				promotion += ": " + code(one.Reason)
			}
		}
		for _, floating := range one.Floating {
			promotion += fmt.Sprintf("<br>%s %s", code(floating.Tag), floating.State)
			if floating.Version != "" {
				promotion += ", held " + code(floating.Version)
			}
		}
		fmt.Fprintf(&text, "| %s | %s | %s | %s | %s | %s | %s |\n", code(it.order.image.Name), code(it.wanted), code(it.tag),
			promotion, code(one.Digest), code(one.Revision), code(one.Built))
	}
	fmt.Fprintf(&text, "\nNothing has been written. %s\n", p.Tool)
	return text.String()
}

// refusedOrUnknown returns the word for an error: of what a rule forbids or is not there, or of what could not be asked.
func refusedOrUnknown(err error, refused, unknown string) string {
	if ofOneImage(err) {
		return refused
	}
	return unknown
}

func images(n int) string {
	if n == 1 {
		return "1 image"
	}
	return fmt.Sprintf("%d images", n)
}

// code returns a text in which nothing is Markdown or HTML, whoever wrote it: an image's labels are anybody's.
func code(text string) string {
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		switch {
		case r == '`' || r == '|':
			return '\''
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text)), " ")
	if text == "" {
		return ""
	}
	return "`" + brief(text) + "`"
}

// brief keeps a text that somebody else wrote from flooding a page.
func brief(text string) string {
	if runes := []rune(text); len(runes) > 500 {
		return string(runes[:500]) + "…"
	}
	return text
}
