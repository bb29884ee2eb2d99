package kaniko

import (
	"slices"
	"strings"
	"sync"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/osscontainertools/kaniko/pkg/commands"
	"github.com/osscontainertools/kaniko/pkg/config"
	"github.com/osscontainertools/kaniko/pkg/dockerfile"
	"github.com/osscontainertools/kaniko/pkg/util"
)

// position knows which instruction Kaniko is executing. Kaniko's errors do not tell; but it logs a line as it enters a
// stage, and each instruction's text just before it executes it. The nil position is nowhere.
type position struct {
	mu     sync.Mutex
	stages [][]spot // those that are built, in order
	bases  []spot   // the FROM of each
	stage  int      // index of the stage that is being built, -1 before the first
	next   int      // index of the instruction that comes next
}

// spot is an instruction of the Dockerfile.
type spot struct {
	line int
	text string
}

// newPosition reads the Dockerfile as Kaniko is about to.
func newPosition(options *config.KanikoOptions) (*position, error) {
	stages, arguments, err := dockerfile.ParseStages(options)
	if err != nil {
		return nil, err
	}
	lines := map[instructions.Command]int{}
	from := map[int]spot{}
	for index, stage := range stages {
		if len(stage.Location) > 0 {
			from[index] = spot{stage.Location[0].Start.Line, "FROM " + stage.BaseName}
		}
		for _, command := range stage.Commands {
			if location := command.Location(); len(location) > 0 {
				lines[command] = location[0].Start.Line
			}
		}
	}
	built, err := dockerfile.MakeKanikoStages(options, stages, arguments)
	if err != nil {
		return nil, err
	}
	p := &position{stage: -1}
	for _, stage := range built {
		var spots []spot
		for _, command := range stage.Commands {
			known, err := commands.GetCommand(command, util.FileContext{}, options.Secrets, false, false, true)
			if err != nil {
				return nil, err
			}
			if known == nil {
				continue // Kaniko leaves it out
			}
			line, own := lines[command]
			if !own {
				line = from[stage.Index].line // the base image's ONBUILD
			}
			spots = append(spots, spot{line, known.String()})
		}
		p.stages, p.bases = append(p.stages, spots), append(p.bases, from[stage.Index])
	}
	return p, nil
}

// hear follows Kaniko's log.
func (p *position) hear(message string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.HasPrefix(message, "Building stage '") {
		p.stage, p.next = p.stage+1, 0
		return
	}
	if p.stage >= 0 && p.stage < len(p.stages) {
		if spots := p.stages[p.stage]; p.next < len(spots) && spots[p.next].text == message {
			p.next++
		}
	}
}

// comesTo says that an instruction is under way which Kaniko has not logged: the first that comes and holds a word (with a
// cache, all of a stage's are looked at before the first is logged), else the next.
func (p *position) comesTo(word string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stage < 0 || p.stage >= len(p.stages) || p.next >= len(p.stages[p.stage]) {
		return
	}
	ahead := p.stages[p.stage][p.next:]
	p.next += 1 + max(0, slices.IndexFunc(ahead, func(s spot) bool { return strings.Contains(s.text, word) }))
}

// leave says that the last instruction is done.
func (p *position) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stage = -1
}

// now returns the line and text of the instruction that is being executed, a FROM included; 0 and "" when none is.
func (p *position) now() (int, string) {
	if p == nil {
		return 0, ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stage < 0 || p.stage >= len(p.stages) {
		return 0, ""
	}
	if p.next == 0 {
		return p.bases[p.stage].line, p.bases[p.stage].text
	}
	at := p.stages[p.stage][p.next-1]
	return at.line, at.text
}
