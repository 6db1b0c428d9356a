package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server/policy"
)

// ErrCarried is wrapped by every refusal of what was carried by file. The text names members, streams and rules, and no
// content: it is told to the operator who brings the file.
var ErrCarried = errors.New("the file is refused")

// Importer takes streams that were carried by file, with the verification of a pull.
type Importer interface {
	// Import takes the messages of an export, in order; next gives io.EOF behind the last one. checkOnly verifies all and
	// keeps nothing. A refusal wraps ErrCarried and names the owner, the stream and the rule.
	Import(ctx context.Context, checkOnly bool, next func() (*ententev1.ExportStreamsResponse, error)) (*ententev1.ImportStreamsResponse, error)
}

// ImportStreams takes what was carried by file. With check_only it says what the file would bring and keeps nothing; who
// imports asks for that first. Without, what is verified is kept as it comes.
func (s *admin) ImportStreams(in grpc.ClientStreamingServer[ententev1.ImportStreamsRequest, ententev1.ImportStreamsResponse]) error {
	if s.cfg.Import == nil {
		return status.Error(codes.Unimplemented, "this node imports nothing")
	}
	first, err := in.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if first.GetOptions() == nil {
		return invalidField("options", "comes first")
	}
	c := &carried{in: in, sum: sha256.New()}
	response, err := s.cfg.Import.Import(s.acting(in.Context(), nil), first.GetOptions().GetCheckOnly(), c.next)
	if errors.Is(err, ErrCarried) {
		return status.Error(codes.InvalidArgument, err.Error()) // see ErrCarried
	}
	if err != nil {
		return err
	}
	s.cfg.Logger.Info("streams imported", "messages", c.count, "check_only", first.GetOptions().GetCheckOnly())
	cleared, ok := policy.ClearOwn(callerOf(in.Context()).Identity, s.cfg.Self, response)
	sent, err := answer(in.Context(), s.Server, cleared, ok, untold("how much came: the ledger has put what into the trail"))
	if err != nil {
		return err
	}
	return in.SendAndClose(sent)
}

// carried is the messages of a file as they come.
type carried struct {
	in    grpc.ClientStreamingServer[ententev1.ImportStreamsRequest, ententev1.ImportStreamsResponse]
	count uint64 // before the one at hand
	sum   hash.Hash
	ended bool
}

// next gives the next message. The last one is given only where count and hash in it are right, and io.EOF only behind it:
// so who reads to io.EOF has got everything.
func (c *carried) next() (*ententev1.ExportStreamsResponse, error) {
	request, err := c.in.Recv()
	if errors.Is(err, io.EOF) && !c.ended {
		return nil, fmt.Errorf("%w: it ends before its end: it was cut", ErrCarried)
	}
	if err != nil {
		return nil, err
	}
	if c.ended || len(request.GetMessage()) == 0 {
		return nil, fmt.Errorf("%w: message %d does not belong there", ErrCarried, c.count+1)
	}
	message := &ententev1.ExportStreamsResponse{}
	err = proto.Unmarshal(request.GetMessage(), message)
	if err != nil { // the parser's own text may quote the input
		return nil, fmt.Errorf("%w: message %d cannot be read", ErrCarried, c.count+1)
	}
	end := message.GetEnd()
	c.ended = end != nil
	if c.ended && (end.GetMessages() != c.count || !bytes.Equal(end.GetSha256(), c.sum.Sum(nil))) {
		return nil, fmt.Errorf("%w: count or hash at its end are not those of what came before: it was altered", ErrCarried)
	}
	c.count++
	addTo(c.sum, request.GetMessage())
	return message, nil
}
