package server

import (
	"fmt"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

// grantsSince is the contract from which on a node knows that it can read a stream by a grant.
const grantsSince = 2

// relayable says whether a received stream can be passed on to one of its readers that cannot reach the owner now. Never
// a bilateral one: that another member reads from this owner is not ours to show. Of a project, only between members that
// take part now. What is passed on must be provable by the owner's own word at this very size, with a key that counts now: so
// not what is still coming in. And a stream with two histories is nobody's to spread. What is passed over looks as if it
// were not there.
func (s *Server) relayable(info *ledger.StreamInfo, reader member.ID) bool {
	directory := s.cfg.Directory()
	if info.Hidden || info.Owner == s.cfg.Self || !directory.Roster.Active(info.Owner) {
		return false
	}
	switch info.Kind {
	case ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS, ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS_AND_FUTURE:
	case ententev1.StreamKind_STREAM_KIND_PROJECT:
		project := directory.Projects[info.Project]
		if project == nil || !project.Has(reader) || !project.Has(s.cfg.Self) {
			return false
		}
	default:
		return false
	}
	keys := directory.Roster.VerifyingKeys(info.Owner)
	head, err := stream.OpenCheckpoint(info.Checkpoint, info.Owner, info.ID, keys)
	if err != nil || head.Size != info.Size || head.Root != info.Root {
		return false
	}
	if !slices.Contains(info.Granted, reader) {
		return true
	}
	grant, err := s.cfg.Ledger.GrantOf(info.No, reader)
	if err != nil {
		return false
	}
	_, err = stream.OpenGrant(grant, info.Owner, info.ID, keys)
	return err == nil
}

// grant sends the grant by which the caller reads a stream whose opening does not name it, before all else of that stream.
// Who holds the opening has seen it.
func (p *pull) grant(info *ledger.StreamInfo) error {
	if p.held[info.ID] > 0 || p.reader != p.to || !slices.Contains(info.Granted, p.reader) {
		return nil
	}
	document, err := p.cfg.Ledger.GrantOf(info.No, p.reader)
	if err != nil {
		return err
	}
	batch := &ententev1.GrantBatch{StreamId: info.ID[:], Grants: []*ententev1.SignedDocument{document}}
	return p.sendOf(info, &ententev1.PullResponse{Content: &ententev1.PullResponse_Grants{Grants: batch}}, untold("who reads a stream, and no record"))
}

// withdrawn is what the caller of a relayed pull knows to be withdrawn: the targets of the withdrawals that it was told of,
// and up to where in each stream they were read.
type withdrawn struct {
	targets map[stream.Withdrawal]bool // by target only
	read    vector
}

// knows says whether the caller of a relayed pull knows why the payloads that are gone from these entries are gone. An owner
// erases what it has withdrawn, and has told so by now. A relay may have erased at a withdrawal that it cannot prove yet,
// because the stream in which it stands is still coming in: it then stops short of the entry instead of looking like a thief.
func (p *pull) knows(info *ledger.StreamInfo, entries []*ententev1.Entry) (bool, error) {
	if !p.relayed || !slices.ContainsFunc(entries, isErased) {
		return true, nil
	}
	err := p.readWithdrawn()
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if !isErased(e) {
			continue
		}
		header, err := stream.ParseHeader(e.GetHeader())
		if err != nil {
			return false, fmt.Errorf("read an entry of stream %s: %w", info.ID, err)
		}
		if !p.withdrawn.targets[stream.Withdrawal{Target: info.ID, TargetSequence: header.Sequence}] {
			return false, nil
		}
	}
	return true, nil
}

// readWithdrawn reads the withdrawals that the caller was told of since they were read last.
func (p *pull) readWithdrawn() error {
	if p.withdrawn.targets == nil {
		p.withdrawn = withdrawn{targets: map[stream.Withdrawal]bool{}, read: vector{}}
	}
	for _, info := range p.streams(p.about) {
		told := min(p.told[info.ID], info.Size)
		for p.withdrawn.read[info.ID] < told {
			list, err := p.cfg.Ledger.WithdrawalsAfter(info.No, p.withdrawn.read[info.ID], told, batchWithdrawals)
			if err != nil {
				return err
			}
			last, err := p.withdrawn.add(info.ID, list)
			if err != nil {
				return err
			}
			if len(list) < batchWithdrawals {
				last = told
			}
			p.withdrawn.read[info.ID] = last
		}
	}
	return nil
}

// add notes the targets of withdrawals in a stream, and answers where the last one stands.
func (w *withdrawn) add(in stream.ID, list []*ententev1.ProvenHeader) (last uint64, err error) {
	for _, proven := range list {
		header, err := stream.ParseHeader(proven.GetHeader())
		if err != nil {
			return 0, fmt.Errorf("read a withdrawal of stream %s: %w", in, err)
		}
		one, is := header.Withdrawal(in)
		if is {
			w.targets[stream.Withdrawal{Target: one.Target, TargetSequence: one.TargetSequence}] = true
		}
		last = header.Sequence
	}
	return last, nil
}
