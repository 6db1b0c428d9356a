package main

import (
	"context"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

const (
	// entriesSlice and bytesSlice bound one read of a stream.
	entriesSlice = 1024
	bytesSlice   = 4 << 20
)

// place is one entry of a stream.
type place struct {
	stream   stream.ID
	sequence uint64
}

// streamCheck checks streams entry by entry. What it needs of one stream to judge another: withdrawals may stand in a
// successor of the stream whose entry they take back.
type streamCheck struct {
	held      *ledger.Ledger
	roster    *member.Roster
	self      member.ID
	report    *verified
	withdrawn map[place]bool
	missing   []ledgerPlace // payloads that only a withdrawal excuses, or the end of their time
}

type ledgerPlace struct {
	place
	no    uint32
	owner member.ID
}

// verifyStreams checks every stream against its owner's signature, and every payload against its header.
func (p process) verifyStreams(ctx context.Context, held *ledger.Ledger, roster *member.Roster, report *verified) error {
	check := &streamCheck{held: held, roster: roster, self: member.ID(report.Member), report: report, withdrawn: map[place]bool{}}
	streams := held.Streams()
	report.Streams = len(streams)
	for i, info := range streams {
		p.progress("stream %d of %d", i+1, len(streams))
		err := check.stream(ctx, info)
		if err != nil {
			p.progressDone()
			return err
		}
	}
	p.progressDone()
	for _, at := range check.missing {
		excused := check.withdrawn[at.place] || held.Covered(at.owner)(at.stream, at.sequence) || held.EndedHere(at.no, at.sequence)
		if !excused {
			report.damaged("stream %s of %s: the payload of entry %d is missing, and no withdrawal takes it back", at.stream, at.owner, at.sequence)
		}
	}
	return nil
}

// stream recomputes the tree of one stream from its headers. The error is the end of ctx; damage is in the report.
func (c *streamCheck) stream(ctx context.Context, info ledger.StreamInfo) error {
	signed, haveSigned := c.checkpoint(info)
	var edge stream.Edge
	for edge.Size() < info.Size {
		err := ctx.Err()
		if err != nil {
			return err
		}
		entries, err := c.held.Entries(info.No, edge.Size()+1, entriesSlice, bytesSlice)
		if err != nil {
			c.report.damage(err)
			return nil
		}
		if len(entries) == 0 {
			c.report.damaged("stream %s of %s: it ends at entry %d, before its head at %d", info.ID, info.Owner, edge.Size(), info.Size)
			return nil
		}
		for _, e := range entries {
			edge.Append(stream.LeafHash(e.GetHeader()))
			c.entry(info, edge.Size(), e)
			if haveSigned && edge.Size() == signed.Size && edge.Root() != signed.Root {
				c.report.damaged("stream %s of %s: its first %d entries are not those that its owner signed", info.ID, info.Owner, signed.Size)
			}
		}
	}
	if edge.Root() != info.Root {
		c.report.damaged("stream %s of %s: its head does not fit its entries", info.ID, info.Owner)
	}
	if info.Owner == c.self && haveSigned && signed.Size != info.Size {
		c.report.damaged("stream %s of %s: %d entries, but signed are %d", info.ID, info.Owner, info.Size, signed.Size)
	}
	return nil
}

// checkpoint opens the newest checkpoint of a stream.
func (c *streamCheck) checkpoint(info ledger.StreamInfo) (stream.Checkpoint, bool) {
	if len(info.Checkpoint) == 0 {
		if info.Size > 0 {
			c.report.damaged("stream %s of %s: there is no checkpoint over its %d entries", info.ID, info.Owner, info.Size)
		}
		return stream.Checkpoint{}, false
	}
	signed, err := stream.OpenCheckpoint(info.Checkpoint, info.Owner, info.ID, c.roster.VerifyingKeys(info.Owner))
	if err != nil {
		c.report.damaged("stream %s of %s: checkpoint: %v", info.ID, info.Owner, err)
		return stream.Checkpoint{}, false
	}
	return signed, true
}

// entry checks one entry: its place, and its payload against the commitment in the header.
func (c *streamCheck) entry(info ledger.StreamInfo, sequence uint64, e *ententev1.Entry) {
	c.report.Entries++
	header, err := stream.ParseHeader(e.GetHeader())
	if err != nil {
		c.report.damaged("stream %s of %s: entry %d: %v", info.ID, info.Owner, sequence, err)
		return
	}
	if header.Sequence != sequence {
		c.report.damaged("stream %s of %s: entry %d says that it is number %d", info.ID, info.Owner, sequence, header.Sequence)
	}
	withdrawal, is := header.Withdrawal(info.ID)
	if is {
		c.withdrawn[place{withdrawal.Target, withdrawal.TargetSequence}] = true
	}
	switch {
	case !header.HasPayload():
	case len(e.GetSalt()) == 0 && len(e.GetPayload()) == 0:
		c.missing = append(c.missing, ledgerPlace{place{info.ID, sequence}, info.No, info.Owner})
	case len(e.GetSalt()) != stream.SaltSize || stream.Commit(e.GetSalt(), e.GetPayload()) != header.Commitment:
		c.report.damaged("stream %s of %s: the payload of entry %d is not the one that its header commits to", info.ID, info.Owner, sequence)
	default:
		c.report.Payloads++
	}
}
