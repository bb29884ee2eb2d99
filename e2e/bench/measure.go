package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/e2e/bench/line"
)

// bed is what a row's tools run on.
type bed struct {
	row      row
	programs map[string]string
	dir      string
	copied   map[string]v1.Image
	names    []string // of copied, sorted
	guarded  *access
	login    *login
	source   string // address
	toTarget *line.Line
}

// measure runs the row's tools and returns their samples, by the tools' names; a tool's n-th sample is of round n.
func measure(ctx context.Context, one row, rounds int, programs map[string]string, dir string) (map[string][]sample, error) {
	defer os.RemoveAll(dir)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // images for a bench
		return nil, err
	}
	b := &bed{row: one, programs: programs, dir: dir}
	end, err := b.prepare(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	return rotate(one, rounds, func(with tool) (sample, error) { return b.once(ctx, with) })
}

// rotate runs the row's tools in turn, in rounds that each begin with another tool.
func rotate(one row, rounds int, once func(tool) (sample, error)) (map[string][]sample, error) {
	samples := map[string][]sample{}
	for round := range rounds {
		for i := range one.tools {
			tool := one.tools[(round+i)%len(one.tools)]
			if tool.rounds > 0 && round >= tool.rounds {
				continue
			}
			got, err := once(tool)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", tool.name, err)
			}
			samples[tool.name] = append(samples[tool.name], got)
		}
		fmt.Fprint(os.Stderr, ".")
	}
	fmt.Fprintln(os.Stderr)
	return samples, nil
}

// prepare fills and starts the source, makes what the target holds beforehand, and lays the lines. end stops all of it.
func (b *bed) prepare(ctx context.Context) (end func(), err error) {
	var ends []func()
	end = func() {
		for _, stop := range slices.Backward(ends) {
			stop()
		}
	}
	if b.copied, err = b.row.copied(); err != nil {
		return end, err
	}
	b.names = slices.Sorted(maps.Keys(b.copied))
	if err := b.store(ctx, "source", b.copied); err != nil {
		return end, err
	}
	held := map[string]v1.Image{}
	if b.row.held != nil {
		if held, err = b.row.held(); err != nil {
			return end, err
		}
	}
	if err := b.store(ctx, "held", held); err != nil {
		return end, err
	}
	lay := func(to string) (*line.Line, error) {
		laid, err := line.Listen(to, b.row.oneWay, b.row.window())
		if err == nil {
			ends = append(ends, laid.Close)
		}
		return laid, err
	}
	if b.row.guarded {
		service, login, guarded, err := startTokens(b.dir)
		if err != nil {
			return end, err
		}
		ends = append(ends, func() { _ = service.server.Close() })
		laid, err := lay(service.url)
		if err != nil {
			return end, err
		}
		guarded.realm = "https://" + laid.Addr() + "/token"
		b.login, b.guarded = login, guarded
	}
	source, err := serve(ctx, filepath.Join(b.dir, "source"), b.guarded)
	if err != nil {
		return end, err
	}
	ends = append(ends, source.stop)
	b.source = source.address
	if b.row.oneWay > 0 {
		laid, err := lay(source.address)
		if err != nil {
			return end, err
		}
		b.source = laid.Addr()
		if b.toTarget, err = lay("127.0.0.1:1"); err != nil {
			return end, err
		}
	}
	if b.row.promoted {
		return end, b.promote(ctx)
	}
	return end, nil
}

// promote has the target hold beforehand what promote leaves there.
func (b *bed) promote(ctx context.Context) error {
	held := filepath.Join(b.dir, "held")
	if _, err := b.run(ctx, one, held); err != nil {
		return err
	}
	return arrived(held, b.copied)
}

// store fills a registry's files.
func (b *bed) store(ctx context.Context, name string, with map[string]v1.Image) error {
	filled, err := serve(ctx, filepath.Join(b.dir, name), nil)
	if err != nil {
		return err
	}
	defer filled.stop()
	return fill(ctx, filled.address, with)
}

// once runs a tool into a fresh target.
func (b *bed) once(ctx context.Context, with tool) (_ sample, err error) {
	root := filepath.Join(b.dir, "target")
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	if err := os.CopyFS(root, os.DirFS(filepath.Join(b.dir, "held"))); err != nil {
		return sample{}, err
	}
	got, err := b.run(ctx, with, root)
	if err != nil {
		return sample{}, err
	}
	if err := arrived(root, b.copied); err != nil {
		return sample{}, fmt.Errorf("it did not copy all: %w", err)
	}
	return got, nil
}

// run runs a tool into the target with these files.
func (b *bed) run(ctx context.Context, with tool, root string) (_ sample, err error) {
	home := filepath.Join(b.dir, "home")
	defer func() { err = errors.Join(err, os.RemoveAll(home)) }()
	if err := os.Mkdir(home, 0o755); err != nil { //nolint:gosec // likewise
		return sample{}, err
	}
	target, err := serve(ctx, root, b.guarded)
	if err != nil {
		return sample{}, err
	}
	defer target.stop()
	address := target.address
	if b.toTarget != nil {
		b.toTarget.Aim(target.address)
		address = b.toTarget.Addr()
	}
	command, environment, err := with.command(b.programs, task{
		source: b.source, target: address, images: b.names, home: home, login: b.login,
	})
	if err != nil {
		return sample{}, err
	}
	return launch(ctx, command, environment)
}
