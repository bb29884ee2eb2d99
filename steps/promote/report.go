package promote

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"dockline/pkg/registry"
)

// report is the run's details in REPORT_FILE.
type report struct {
	Source    string    `json:"source"`
	Target    string    `json:"target"`
	Digest    string    `json:"digest,omitempty"`
	Promotion Promotion `json:"promotion,omitempty"` // what was decided; done only if the run succeeded
	Replaced  string    `json:"replaced,omitempty"`  // digest of the image that the tag held
	Backup    string    `json:"backup,omitempty"`    // where that is kept
	Reason    string    `json:"reason,omitempty"`
	Blobs     int       `json:"blobs"`   // of the image, in all
	Present   int       `json:"present"` // in the target already
	Mounted   int       `json:"mounted"` // taken over inside the registry
	Bytes     int64     `json:"bytes"`   // sent
}

// progressEvery is how often a copy that goes on is told about.
const progressEvery = 5 * time.Second

// copy brings the image into the target by its digest, telling how it goes.
func (p *promotion) copy(ctx context.Context) error {
	end := p.rt.Section("copy", "Copying "+p.image.Digest.String())
	defer end()
	started, told := time.Now(), time.Now()
	running := map[string]registry.Progress{}
	var sent int64
	copied, err := registry.Copy(ctx, p.from, p.image.Digest, p.to, func(one registry.Progress) {
		digest := one.Blob.Digest.String()
		switch one.State {
		case registry.Running:
			running[digest] = one
		default:
			delete(running, digest)
			if one.State == registry.Sent {
				sent += one.Blob.Size
			}
			p.rt.Log.Debug().Str("blob", digest).Str("size", size(one.Blob.Size)).Msg(string(one.State))
		}
		if time.Since(told) < progressEvery {
			return
		}
		told = time.Now()
		done, total := sent, sent
		for _, other := range running {
			done, total = done+other.Done, total+other.Blob.Size
		}
		p.rt.Log.Info().Str("for", time.Since(started).Round(time.Second).String()).
			Msgf("copying: %s of %s sent, %d layers under way", size(done), size(total), len(running))
	})
	p.report.Blobs, p.report.Present, p.report.Mounted, p.report.Bytes = copied.Blobs, copied.Present, copied.Mounted, copied.Bytes
	if err != nil {
		return err
	}
	p.rt.Log.Info().Str("took", time.Since(started).Round(time.Millisecond).String()).
		Msgf("copied %d manifests and %d blobs: %s sent, %d blobs there already, %d mounted",
			copied.Manifests, copied.Blobs, size(copied.Bytes), copied.Present, copied.Mounted)
	return nil
}

// summarize prints what a person wants to know in the end.
func (p *promotion) summarize(to io.Writer) {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, value)
		}
	}
	row("promotion", string(p.report.Promotion))
	row("from", p.report.Source)
	row("to", p.report.Target)
	row("digest", p.report.Digest)
	row("replaced", p.report.Replaced)
	row("kept as", p.report.Backup)
	row("reason", p.report.Reason)
	_ = table.Flush()
}

// size returns bytes for people, in powers of 1000 as registries' pages do.
func size(bytes int64) string {
	if bytes < 1000 {
		return fmt.Sprintf("%d B", bytes)
	}
	value, unit := float64(bytes)/1000, 0
	for value >= 1000 && unit < 3 {
		value, unit = value/1000, unit+1
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGT"[unit])
}
