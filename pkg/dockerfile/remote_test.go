package dockerfile

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRemotes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		description, source string
		options             Options
		want                []string
	}{
		{"nothing", "FROM a\nADD x.tar /x\nCOPY y /y\n", Options{}, nil},
		{"an address", "FROM a\nADD https://host/x.tar /x\n", Options{}, []string{"Dockerfile:2: ADD https://host/x.tar"}},
		{"one of several", "FROM a\nADD x http://host/y /x/\n", Options{}, []string{"Dockerfile:2: ADD http://host/y"}},
		{"a variable that may be an address", "FROM a\nARG U\nADD $U /x\n", Options{}, []string{"Dockerfile:3: ADD $U"}},
		{"an address with a variable", "FROM a\nARG V\nADD https://host/$V /x\n", Options{}, []string{"Dockerfile:3: ADD https://host/$V"}},
		{"a name with a variable", "FROM a\nARG V\nADD app-$V.tar /x\n", Options{}, nil},
		{"a trigger, where it runs", "FROM a AS b\nONBUILD ADD http://host/y /x\nFROM b\n", Options{}, []string{"Dockerfile:2: ADD http://host/y"}},
		{"in a stage that is not needed", "FROM a AS b\nADD http://host/y /x\nFROM a\n", Options{}, nil},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			plan, err := Check([]byte(test.source), test.options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, plan.Remotes); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestBase(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"FROM scratch\n":                                 "",
		"ARG V=1\nFROM a:$V\n":                           "a:1",
		"FROM a AS b\nFROM b AS c\nFROM c\n":             "a",
		"FROM a AS b\nFROM d\nCOPY --from=b /x /x\n":     "d",
		"FROM a AS b\nFROM scratch\nCOPY --from=b / /\n": "",
	} {
		plan, err := Check([]byte(source), Options{})
		if err != nil || plan.Base != want {
			t.Errorf("%q: base %q, want %q (%v)", source, plan.Base, want, err)
		}
	}
}

// TestNoRun: what another machine's programs would have to do is refused by name, and all else is not.
func TestNoRun(t *testing.T) {
	t.Parallel()
	options := Options{Platform: "linux/s390x", NoRun: true}
	_, err := Check([]byte("FROM a AS b\nRUN true\nFROM a\nCOPY x /x\nRUN make\n"), options)
	var refused Refused
	if !errors.As(err, &refused) || len(refused) != 1 || refused[0].Line != 5 || refused[0].Feature != "RUN for another platform" ||
		!strings.Contains(refused[0].Reason, "binfmt_misc") {
		t.Errorf("refused %+v (%v)", refused, err)
	}
	if _, err := Check([]byte("FROM a\nCOPY x /x\nENV A=b\nCMD [\"/x\"]\n"), options); err != nil {
		t.Error(err)
	}
}
