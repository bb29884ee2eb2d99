package imageapi

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// importController imports the tags that wait for it, and scheduled ones again and again.
type importController struct {
	server *Server

	mu   sync.Mutex
	busy map[types.UID]bool      // streams whose import is under way
	seen map[importKey]time.Time // when a tag was first seen to wait in this generation
	last map[importKey]time.Time // when a scheduled tag was imported, by generation 0
}

type importKey struct {
	stream     types.UID
	tag        string
	generation int64
}

func (c *importController) reconcile(ctx context.Context) (again time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stored, _ := c.server.store.list(imageStreams, "")
	for _, object := range stored {
		if c.busy[object.GetUID()] {
			continue // its end looks again
		}
		current := streamOf(object)
		var due []specTag
		for _, tag := range current.Spec.Tags {
			wait, wanted := c.due(current, tag)
			switch {
			case wanted && wait <= 0:
				due = append(due, tag)
			case wanted:
				again = sooner(again, wait)
			}
		}
		if len(due) > 0 {
			c.start(ctx, current, due)
		}
	}
	return again
}

// due says whether a tag is to be imported, and after what time. It must be called with the lock held.
func (c *importController) due(current *stream, tag specTag) (wait time.Duration, wanted bool) {
	if tag.From == nil || tag.From.Kind != "DockerImage" || tag.Reference || tag.Generation == nil {
		return 0, false
	}
	now := time.Now()
	scheduled := importKey{current.Metadata.UID, tag.Name, 0}
	if current.observed(tag.Name) < *tag.Generation {
		waiting := importKey{current.Metadata.UID, tag.Name, *tag.Generation}
		if _, found := c.seen[waiting]; !found {
			c.seen[waiting] = now
		}
		return c.server.options.ImportDelay - now.Sub(c.seen[waiting]), true
	}
	if !tag.ImportPolicy.Scheduled {
		delete(c.last, scheduled)
		return 0, false
	}
	if _, found := c.last[scheduled]; !found {
		c.last[scheduled] = now
	}
	return c.server.options.ScheduleInterval - now.Sub(c.last[scheduled]), true
}

// start imports in the background, one stream at a time for each stream. It must be called with the lock held.
func (c *importController) start(ctx context.Context, current *stream, due []specTag) {
	uid := current.Metadata.UID
	c.busy[uid] = true
	c.server.workers.Go(func() {
		var outcomes []outcome
		for _, tag := range due {
			one := c.server.importOne(ctx, current.Metadata.Namespace, tag.From.Name, tag.ImportPolicy)
			one.tag, one.as = tag.Name, tag
			outcomes = append(outcomes, one)
			c.server.options.Log("import %s/%s:%s from %s: %s", current.Metadata.Namespace, current.Metadata.Name, tag.Name,
				tag.From.Name, importResult(one))
		}
		if ctx.Err() != nil {
			return
		}
		_, err := c.server.commit(current.Metadata.Namespace, current.Metadata.Name, outcomes)
		if err != nil {
			c.server.options.Log("import %s/%s: %v", current.Metadata.Namespace, current.Metadata.Name, err)
		}
		c.mu.Lock()
		delete(c.busy, uid)
		for _, tag := range due {
			delete(c.seen, importKey{uid, tag.Name, *tag.Generation})
			if tag.ImportPolicy.Scheduled {
				c.last[importKey{uid, tag.Name, 0}] = time.Now()
			}
		}
		c.mu.Unlock()
		c.server.store.touch()
	})
}

func importResult(one outcome) string {
	if one.err != nil {
		return one.err.Error()
	}
	return one.found.digest
}
