package step

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode"

	"dockline/pkg/fault"
)

// hostile is a label as an image of somebody else may carry it.
const hostile = "abc\r\x1b[2K\x1b[1A\u202epromote: all is well\x07\n\x1b[0Ksection_end:1:copy\r\x1b[0Kdone"

// TestTextOfOthersStaysText has hostile text in all that a step writes. What it says may be read, and nothing more.
func TestTextOfOthersStaysText(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"console", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			s := &sample{run: func(_ context.Context, rt *Runtime) (Outcome, error) {
				defer rt.Section("copy", "Copying "+hostile)()
				rt.Log.Warn().Str("label", hostile).Msg("the cluster warns: " + hostile)
				fmt.Fprintln(rt.Stdout, "plainly "+hostile)
				table := NewTable(rt.Stdout)
				table.Row("built as", hostile)
				table.Row("verdict", "wrong")
				table.Flush()
				return Outcome{}, fault.WithHint(fault.New(fault.Refused, "revision %s", hostile), "look at "+hostile)
			}}
			_, stdout, stderr := try(t, s, nil, "IMAGE=a", "GITLAB_CI=true", "LOG_FORMAT="+format)
			ours := 0
			for line := range strings.Lines(stdout + stderr) {
				if marks := strings.Count(line, "\x1b[0Ksection_"); marks > 0 {
					ours += marks
					line = strings.NewReplacer("\x1b[0K", "", "\r", "").Replace(line)
				}
				if i := strings.IndexFunc(line, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsGraphic(r) }); i >= 0 {
					t.Errorf("a control character shows in %q", line)
				}
				if format == "json" && (strings.Contains(line, `\u001b`) || strings.Contains(line, `\r`)) {
					t.Errorf("a control character is escaped, for a reader to restore, in %q", line)
				}
			}
			if want := map[string]int{"console": 2, "json": 0}[format]; ours != want {
				t.Errorf("%d section marks of our own, want %d:\n%s", ours, want, stderr)
			}
			if rows := strings.Count(stdout, "\n"); rows != 4 { // two of what was written plainly
				t.Errorf("the table has other rows than its own:\n%s", stdout)
			}
			last := lastLine(stderr)
			if format == "json" {
				var line struct{ Message, Hint string }
				if err := json.Unmarshal([]byte(last), &line); err != nil || !strings.HasPrefix(line.Message, "sample: revision abc") {
					t.Errorf("%v: the last line is %q", err, last)
				}
				return
			}
			if !strings.HasPrefix(last, "sample: refused: revision abc") || !strings.HasSuffix(last, "(exit status 3)") {
				t.Errorf("the last line is %q", last)
			}
			for line := range strings.Lines(stderr) {
				if strings.HasPrefix(line, "promote:") || strings.HasPrefix(line, "section_") {
					t.Errorf("a line passes for another's: %q", line)
				}
			}
		})
	}
}

func TestCleaning(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ text, want string }{
		"plain":                {"héllo, 世界 🙂\n\tindented", "héllo, 世界 🙂\n\tindented"},
		"colours":              {"\x1b[1;31merror\x1b[0m: no", "error: no"},
		"the cursor":           {"a\x1b[2Kb\x1b[1A", "a�[2Kb�[1A"},
		"a carriage return":    {"10%\r20%\r\n", "10% 20% \n"},
		"a bell and a null":    {"a\x07b\x00c", "a�b�c"},
		"C1":                   {"a\u009b2Kb", "a�2Kb"},
		"the other way round":  {"a\u202eb\u2066c", "a�b�c"},
		"no UTF-8":             {"a\xffb\xe4", "a�b�"},
		"a colour not ended":   {"a\x1b[31", "a�[31"},
		"a mark of a CI's":     {"\x1b[0Ksection_start:1:x\r\x1b[0Kh", "�[0Ksection_start:1:x �[0Kh"},
		"a secret in pieces":   {"hun\x1b[1mter22", "[MASKED]"},
		"escaped, and no JSON": {`a\u001b`, `a\u001b`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for size := 1; size <= len(row.text); size++ {
				masker := &Masker{}
				masker.Add("hunter22")
				var out bytes.Buffer
				w := &cleaningWriter{to: masker.Writer(&out)}
				inChunks(w, row.text, size)
				if out.String() != row.want {
					t.Errorf("in chunks of %d: %q, want %q", size, out.String(), row.want)
				}
			}
		})
	}
}

// TestASecretWithControlCharactersIsMasked has them in the secret itself: cleaning changes it before the mask sees it.
func TestASecretWithControlCharactersIsMasked(t *testing.T) {
	t.Parallel()
	for name, secret := range map[string]string{
		"a bell":              "hun\atER22",
		"an escape":           "hun\x1btER22",
		"a colour":            "hun\x1b[1mtER22",
		"a carriage return":   "hun\rtER22",
		"DEL and a backspace": "hun\x7ft\bER22",
		"C1":                  "hun\u009btER22",
		"no UTF-8":            "hun\xfftER22",
		"quotes, too":         "hun\a\"t\\ER22",
	} {
		for _, format := range []string{"console", "json"} {
			t.Run(name+", "+format, func(t *testing.T) {
				t.Parallel()
				s := &sample{run: func(_ context.Context, rt *Runtime) (Outcome, error) {
					rt.Log.Info().Str("with", secret).Msg("said " + secret)
					fmt.Fprintln(rt.Stdout, "plainly "+secret)
					return Outcome{}, fault.WithHint(fault.New(fault.Refused, "no %s", secret), "look at "+secret)
				}}
				_, stdout, stderr := try(t, s, nil, "IMAGE=a", "GIT_PASSWORD="+secret, "LOG_FORMAT="+format)
				if said := stdout + stderr; strings.Contains(said, "ER22") || strings.Contains(said, "hun") || strings.Count(said, hidden) != 5 {
					t.Errorf("the secret shows in\n%s", said)
				}
			})
		}
	}
}

func inChunks(w io.WriteCloser, text string, size int) {
	for rest := text; rest != ""; {
		n := min(size, len(rest))
		_, _ = w.Write([]byte(rest[:n]))
		rest = rest[n:]
	}
	_ = w.Close()
}

// FuzzCleanedJSON has any text in a JSON log: the line stays JSON, and says nothing that moves a cursor.
func FuzzCleanedJSON(f *testing.F) {
	f.Add(hostile, 3)
	f.Add(`\`, 1)
	f.Add("\\u001b\\\\\x1b", 2)
	f.Fuzz(func(t *testing.T, text string, size int) {
		if size < 1 {
			t.Skip()
		}
		line, err := json.Marshal(text)
		if err != nil {
			t.Skip()
		}
		var out bytes.Buffer
		inChunks(&cleaningWriter{to: (&Masker{}).Writer(&out), json: true}, string(line), size)
		var got string
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("%q became %q: %v", line, out.String(), err)
		}
		if i := strings.IndexFunc(got, func(r rune) bool { return r != '\n' && r != '\t' && unicode.IsControl(r) }); i >= 0 {
			t.Errorf("%q became %q", text, got)
		}
	})
}
