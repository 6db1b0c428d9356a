package demo

import (
	"fmt"
	"strings"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// cutOff stops XC's node, then cuts XA's line, and lets XC catch up with what XA released in between.
func (t *tour) cutOff(s *stage, _ *tally) error {
	xa, xc := s.at(lateMember), s.at("XC")
	err := s.halt(xc)
	if err != nil {
		return err
	}
	t.say("XC's node is down. XA releases %d practices and lessons, for all members of now and of later; all others have them at once. XA sees who "+
		"has signed for what it was sent: XC is behind.", len(t.late))
	_, err = t.do(s, command{line: "release " + strings.Join(t.late, " ") + " --to all-future --config @XA/system.yaml", quiet: true})
	if err != nil {
		return err
	}
	err = s.settle()
	if err != nil {
		return err
	}
	t.found.behind, err = s.unsigned(xa, "XC")
	if err != nil {
		return err
	}
	status := command{line: "status --config @XA/operator.yaml", only: []string{"PEER", "XC "}}
	_, err = t.do(s, status)
	if err != nil {
		return err
	}
	err = t.relayed(s, xa, xc)
	if err != nil {
		return err
	}
	t.say("XA's line is mended. XC hands over its receipts, and is behind no more.")
	err = xa.line.mend(s.ctx)
	if err != nil {
		return err
	}
	err = s.until("XC's receipts", func() (bool, error) {
		t.found.caughtUp, err = s.unsigned(xa, "XC")
		if err != nil || t.found.caughtUp > 0 {
			return false, err
		}
		return s.allConnected(lateMember)
	})
	if err != nil {
		return err
	}
	_, err = t.do(s, status)
	return err
}

// relayed brings XC back while its owner XA cannot be reached.
func (t *tour) relayed(s *stage, xa, xc *station) error {
	t.say("Now XA's line goes down too, and XC comes back. What XA released to all, any other reader may relay. XC believes it no more than " +
		"a stranger: each entry has to be under XA's own signature.")
	err := xa.line.cut()
	if err != nil {
		return err
	}
	err = s.restart(xc)
	if err != nil {
		return err
	}
	err = s.until("a relay", func() (bool, error) {
		peer, err := s.peer(xc, lateMember)
		if err != nil {
			return false, err
		}
		t.relay = peer.GetRelay()
		return t.relay != "" && xa.ledger.Digest(lateMember, "XC") == xc.ledger.Digest(lateMember, "XC"), nil
	})
	if err != nil {
		return err
	}
	_, err = t.do(s, command{line: "status --config @XC/operator.yaml", only: []string{"PEER", "XA "}})
	if err != nil {
		return err
	}
	_, err = t.do(s, command{line: "practices list --config @XC/officer.yaml", only: []string{"OWNER", "XA "}})
	return err
}

// status asks a node how it is, as its operator.
func (s *stage) status(at *station) (*ententev1.GetStatusResponse, error) {
	operator, err := s.dial(at, member.KindOperator, operatorName)
	if err != nil {
		return nil, err
	}
	defer operator.Close() // nothing is under way on it any more
	status, err := operator.Status(s.ctx)
	if err != nil {
		return nil, fmt.Errorf("status of %s: %w", at.seat.ID, err)
	}
	return status, nil
}

// unsigned counts the entries of a member's streams for which a reader has not signed.
func (s *stage) unsigned(at *station, reader string) (uint64, error) {
	status, err := s.status(at)
	if err != nil {
		return 0, err
	}
	var count uint64
	for _, stream := range status.GetStreams() {
		for _, r := range stream.GetReaders() {
			if r.GetMember() == reader {
				count += r.GetLag()
			}
		}
	}
	return count, nil
}

// peer is what a node says of its connection to another member.
func (s *stage) peer(at *station, id string) (*ententev1.PeerStatus, error) {
	status, err := s.status(at)
	if err != nil {
		return nil, err
	}
	for _, peer := range status.GetPeers() {
		if peer.GetMember() == id {
			return peer, nil
		}
	}
	return nil, nil
}

// allConnected says whether all other nodes hear a member.
func (s *stage) allConnected(id string) (bool, error) {
	for _, at := range s.up() {
		if string(at.seat.ID) == id {
			continue
		}
		peer, err := s.peer(at, id)
		if err != nil || !peer.GetConnected() {
			return false, err
		}
	}
	return true, nil
}
