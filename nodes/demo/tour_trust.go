package demo

import (
	"strings"

	"entente.example/entente/client/cli"
)

// The files that go by hand from XB to XC.
const (
	carriedFile = "carried.streams"
	forgedFile  = "forged.streams"
)

// forgery carries a stream by file, has a byte of it altered on the way, and then brings the true one.
func (t *tour) forgery(s *stage, _ *tally) error {
	xb, xc := s.at(carriedMember), s.at("XC")
	t.say("XB's line is down, and it has a new release for all. Its operator writes a file for XC, to be carried by hand (without " +
		"--unencrypted it would be sealed with a passphrase).")
	err := xb.line.cut()
	if err != nil {
		return err
	}
	err = t.all(s, "release "+t.carried+" --to all-future --config @XB/system.yaml")
	if err != nil {
		return err
	}
	_, err = t.do(s, command{line: "stream export --for XC --owner XB --unconfirmed-only --unencrypted --out @" + carriedFile + " --config @XB/operator.yaml", once: true})
	if err != nil {
		return err
	}
	err = forgeFile(s.path(carriedFile), s.path(forgedFile))
	if err != nil {
		return err
	}
	t.say("On the way somebody alters one byte of the record, and makes the file's own checksum fit. XC's operator imports it:")
	held := func() (entries int) {
		for _, position := range xc.ledger.Held(carriedMember) {
			entries += int(position.GetSize())
		}
		return entries
	}
	before := held()
	t.found.forgery, err = t.do(s, command{line: "stream import @" + forgedFile + " --config @XC/operator.yaml", code: cli.ExitFailed, once: true})
	if err != nil {
		return err
	}
	t.found.carriedBefore = held() - before
	t.say("The error names who the stream belongs to and what does not fit, and nothing of the file was taken. The true one:")
	_, err = t.do(s, command{line: "stream import @" + carriedFile + " --config @XC/operator.yaml", once: true})
	if err != nil {
		return err
	}
	t.found.carriedAfter = held() - before
	err = xb.line.mend(s.ctx)
	if err != nil {
		return err
	}
	err = s.until("XB to be heard", func() (bool, error) { return s.allConnected(carriedMember) })
	if err != nil {
		return err
	}
	err = s.settle()
	if err != nil {
		return err
	}
	return t.verify(s)
}

// verify checks a copy of XC's data file without its node.
func (t *tour) verify(s *stage) error {
	t.say("Last, trust nobody: take a copy of XC's data file and check it without the node. Every value is opened; the state is read anew from the log; " +
		"of each stream, own or received, the tree of headers is computed again and has to be what its owner signed; each payload has to be what its header commits to, and " +
		"may be missing only where a withdrawal says so.")
	_, err := t.do(s, command{line: "backup --name tour.db --config @XC/operator.yaml", once: true})
	if err != nil {
		return err
	}
	t.found.verified, err = t.do(s, command{line: "verify --data @XC/backups/tour.db --sealing-key @XC/sealing.key"})
	t.found.verified = strings.TrimSpace(t.found.verified)
	return err
}
