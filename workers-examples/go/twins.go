// The example agent: identical files by the hash of their content, the largest files, and sizes by extension.
package main

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"bailiwick.example/go/worker"
)

func twins(a *worker.Attempt) (*worker.Answer, error) {
	files, err := openListed(a)
	if err != nil {
		return nil, err
	}
	defer files.root.Close()
	facts, first, short := map[string]int{"twins": 0}, map[[32]byte]string{}, ""
	findings, sizes := []finding{}, []finding{}
	for i, name := range files.Files {
		content, err := files.read(name)
		if err != nil {
			facts["skipped"]++
			continue
		}
		if a.Cancelled() || !a.Afford(tokens(len(content)+findingText*(len(findings)+largest))) {
			short = fmt.Sprintf("the allowance ended at file %d of %d", i+1, len(files.Files))
			break
		}
		a.AddUsage(worker.Usage{Input: tokens(len(content))})
		facts["files"]++
		facts["bytes"] += len(content)
		facts["bytes of "+extension(name)] += len(content)
		sizes = append(sizes, finding{Kind: "size", Path: name, Value: len(content), Note: "one of the largest files"})
		if hash := sha256.Sum256(content); len(content) == 0 {
			facts["empty"]++
		} else if twin, ok := first[hash]; ok {
			facts["twins"]++
			facts["twin_bytes"] += len(content)
			findings = append(findings, finding{Kind: "twin", Path: name, Note: "identical to " + twin})
		} else {
			first[hash] = name
		}
		if i%50 == 49 {
			a.Progress(fmt.Sprintf("%d of %d files measured", i+1, len(files.Files)))
		}
	}
	slices.SortStableFunc(sizes, func(x, y finding) int { return y.Value - x.Value })
	all := append(sizes[:min(len(sizes), largest)], findings...)
	summary := fmt.Sprintf("%d files hold %d bytes; %d are copies of others and waste %d bytes.",
		facts["files"], facts["bytes"], facts["twins"], facts["twin_bytes"])
	return conclude(a, report{summary, facts, all[:min(len(all), enough)]}, 1, short), nil
}
