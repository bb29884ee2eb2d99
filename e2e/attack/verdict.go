package attack

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Verdict is how an attack ended.
type Verdict string

// The verdicts.
const (
	Untried Verdict = "untried"
	Lost    Verdict = "lost"
	Won     Verdict = "won"
)

var attackLine = regexp.MustCompile(`ATTACK ([a-z0-9-]+) (WON|LOST|TRIED)`)

// Judge tells how the attacks of a scene went, from all that was written on the container's output, from the results'
// folder, and from whether the registry was found to hold a forged image.
func (s Scene) Judge(output, results string, given Given, forgedPush bool) map[string]Verdict {
	verdicts := map[string]Verdict{}
	for _, name := range s.Attacks {
		verdicts[name] = Untried
	}
	for _, line := range attackLine.FindAllStringSubmatch(output, -1) {
		name, said := line[1], line[2]
		switch {
		case verdicts[name] == "" || verdicts[name] == Won:
		case said == "WON":
			verdicts[name] = Won
		default: // what was tried, and of which nothing more is heard, was lost
			verdicts[name] = Lost
		}
	}
	win := func(name string, won bool) {
		if verdicts[name] != "" && won {
			verdicts[name] = Won
		}
	}
	digest, _ := os.ReadFile(filepath.Join(results, "IMAGE_DIGEST"))
	win("results-of-a-failure", string(digest) == forged)
	password, _ := os.ReadFile(filepath.Join(results, stolen))
	win("hosts", string(password) == given.Secret("registry"))
	win("layout", forgedPush)
	win("log-escape", strings.Contains(output, escapeText))
	win("log-section", strings.Contains(output, sectionText))
	win("log-return", strings.Contains(output, returnText))
	win("log-forged", hasLine(output, forgedLine))
	if verdicts["log-around"] == Won && !hasLine(output, aroundLine) {
		verdicts["log-around"] = Lost // it wrote, but nobody sees it
	}
	secret := given.Secret("build")
	win("log-secret", strings.Contains(output, "clear "+secret))
	win("log-secret-base64", strings.Contains(output, base64.StdEncoding.EncodeToString([]byte(secret))))
	half := len(secret) / 2
	win("log-secret-coloured", strings.Contains(output, "coloured "+secret) ||
		strings.Contains(output, secret[:half]+"\x1b[1m"+secret[half:]))
	return verdicts
}

func hasLine(output, wanted string) bool {
	for line := range strings.Lines(output) {
		if strings.TrimRight(line, "\r\n") == wanted {
			return true
		}
	}
	return false
}
