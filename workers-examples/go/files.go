// Reading what a planner listed, and reporting on it. Never a byte from outside the root, whatever a path or a link says.
package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"strings"

	"bailiwick.example/go/worker"
)

const (
	maxFile         = 1 << 20 // bytes; larger files are skipped
	findingText     = 200     // characters a finding may take in the report: what is found must stay affordable to say
	largest, enough = 10, 200 // findings
)

// report is the result that every agent of the audit gives.
type report struct {
	Summary  string         `json:"summary"`
	Facts    map[string]int `json:"facts"`
	Findings []finding      `json:"findings"`
}

// finding can be checked: the line (1-based, 0 = the whole file) contains the text; value is the size in bytes.
type finding struct {
	Kind  string `json:"kind"`
	Path  string `json:"path"`
	Line  int    `json:"line"`
	Text  string `json:"text"`
	Note  string `json:"note"`
	Value int    `json:"value,omitempty"`
}

type listed struct {
	Root  string   `json:"root"`
	Files []string `json:"files"`
	root  *os.Root
}

func openListed(a *worker.Attempt) (*listed, error) {
	l := &listed{}
	if err := a.Input(l); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(l.Root)
	l.root = root
	return l, err
}

func (l *listed) read(name string) ([]byte, error) {
	// Looked at before it is opened: opening a pipe would wait for its other end.
	if info, err := l.root.Stat(name); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("not a regular file"))
	}
	file, err := l.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if len(content) > maxFile {
		return nil, errors.New("too large")
	}
	return content, err
}

// extension is the part after the last dot; a dot at the start makes a hidden file, not an extension.
func extension(name string) string {
	base := path.Base(name)
	if dot := strings.LastIndexByte(base, '.'); dot > 0 {
		return base[dot:]
	}
	return "no extension"
}

// tokens estimates: nothing here calls a model, so characters / 4 stand for what one would have read or written.
func tokens(characters int) int64 { return int64(characters+3) / 4 }

// conclude charges the report itself; short says what is missing, if anything.
func conclude(a *worker.Attempt, r report, confidence float64, short string) *worker.Answer {
	if text, err := json.Marshal(r); err == nil { // an error comes back from the answer below
		a.AddUsage(worker.Usage{Output: tokens(len(text))})
	}
	if short != "" {
		return worker.Partial(r, confidence, short)
	}
	return worker.Success(r, confidence)
}
