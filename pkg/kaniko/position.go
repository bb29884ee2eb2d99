package kaniko

import "sync"

// position is the instruction that is being executed. The nil position is nowhere.
type position struct {
	mu   sync.Mutex
	line int
	text string
}

// set says which instruction comes now.
func (p *position) set(line int, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line, p.text = line, text
}

// leave says that the last instruction is done.
func (p *position) leave() { p.set(0, "") }

// now returns the line and text of the instruction that is being executed, a FROM included; 0 and "" when none is.
func (p *position) now() (int, string) {
	if p == nil {
		return 0, ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.line, p.text
}
