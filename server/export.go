package server

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/policy"
)

// export is one export under way.
type export struct {
	*Server
	caller member.Identity // who carries it out of the node
	reader member.ID       // who is to read it
	out    grpc.ServerStreamingServer[ententev1.ExportStreamsResponse]
	count  uint64
	sum    hash.Hash
}

// ExportStreams gives an operator what a member may read of what this node holds, in the form of a pull, for a file. It
// decides like a pull by that member: each message is cleared for it, and then for the operator, who gets bytes and no way
// to look into them. What the file does with them is the operator's responsibility; that it was made stands in the log.
func (s *admin) ExportStreams(request *ententev1.ExportStreamsRequest, out grpc.ServerStreamingServer[ententev1.ExportStreamsResponse]) error {
	reader := member.ID(request.GetReader())
	roster := s.cfg.Directory().Roster
	if reader == s.cfg.Self || !roster.Active(reader) {
		return invalidField("reader", "is not another member in good standing")
	}
	for i, owner := range request.GetOwners() {
		if !roster.Active(member.ID(owner)) || member.ID(owner) == reader {
			return invalidField(fmt.Sprintf("owners[%d]", i), "is not another member in good standing")
		}
	}
	e := &export{Server: s.Server, caller: callerOf(out.Context()).Identity, reader: reader, out: out, sum: sha256.New()}
	err := e.header(roster.Federation())
	if err != nil {
		return err
	}
	for _, owner := range roster.Members() {
		wanted := len(request.GetOwners()) == 0 || slices.Contains(request.GetOwners(), string(owner))
		if !wanted || owner == reader {
			continue
		}
		err = e.owner(out.Context(), owner, request.GetUnconfirmedOnly())
		if err != nil {
			return err
		}
	}
	err = e.receipts()
	if err != nil {
		return err
	}
	s.cfg.Logger.Info("streams exported", "reader", string(reader), "messages", e.count)
	return e.end()
}

func (e *export) header(federation [32]byte) error {
	header := &ententev1.ExportHeader{
		FederationId: federation[:], Exporter: string(e.cfg.Self), Reader: string(e.reader),
		ExportedAt: timestamppb.New(e.cfg.Now()), Contract: member.Contract,
	}
	return e.send(&ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_Header{Header: header}})
}

// owner exports the streams of one owner, as a pull by the reader would bring them.
func (e *export) owner(ctx context.Context, owner member.ID, unconfirmedOnly bool) error {
	p := &pull{Server: e.Server, ctx: ctx, out: e.pulled}
	p.about = about{to: e.reader, owner: owner, reader: e.reader, relayed: owner != e.cfg.Self, granted: true}
	if len(e.streams(p.about)) == 0 {
		return nil
	}
	err := e.send(&ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_Owner{Owner: string(owner)}})
	if err != nil {
		return err
	}
	var signed []*ententev1.StreamPosition
	if unconfirmedOnly {
		signed = e.signedFor(p.about)
	}
	return p.catchUp(ctx, signed)
}

// signedFor is up to where the reader has signed for our own streams. Of others' only their owners know that.
func (e *export) signedFor(a about) []*ententev1.StreamPosition {
	var list []*ententev1.StreamPosition
	for _, info := range e.streams(a) {
		for _, r := range e.cfg.Ledger.Readers(info.No) {
			if r.Member == e.reader {
				list = append(list, &ententev1.StreamPosition{StreamId: slices.Clone(info.ID[:]), Size: r.ConfirmedSize})
			}
		}
	}
	return list
}

// pulled wraps what a pull sends, once policy has cleared it for the reader.
func (e *export) pulled(cleared policy.Cleared[*ententev1.PullResponse], ok bool, t traces) error {
	if !ok {
		return errNotFound
	}
	err := e.trace(e.out.Context(), t)
	if err != nil {
		return err
	}
	return e.send(&ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_Pull{Pull: cleared.Value()}})
}

// receipts are what this member has signed for the reader's streams and not yet handed over. Whether the file arrives is not
// known: they stay owed until the owner takes them.
func (e *export) receipts() error {
	list, err := e.cfg.Ledger.PendingReceipts(e.reader)
	if err != nil {
		return err
	}
	for _, receipt := range list {
		cleared, ok := policy.ClearFor(e.reader, e.reader, receipt)
		if !ok {
			return errNotFound
		}
		err = e.send(&ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_Receipt{Receipt: cleared.Value()}})
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *export) end() error {
	end := &ententev1.ExportEnd{Messages: e.count, Sha256: e.sum.Sum(nil)}
	return e.send(&ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_End{End: end}})
}

func (e *export) send(message *ententev1.ExportStreamsResponse) error {
	encoded, err := proto.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode a message of an export: %w", err)
	}
	e.count++
	addTo(e.sum, encoded)
	cleared, ok := policy.ClearOwn(e.caller, e.cfg.Self, message)
	return send(e.Server, e.out, cleared, ok, untold("what its parts have put into the trail"))
}

// addTo adds a message of an export to the hash over all of them.
func addTo(sum hash.Hash, encoded []byte) {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(encoded)))
	sum.Write(length[:]) // a hash takes everything
	sum.Write(encoded)
}
