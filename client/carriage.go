package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

const (
	// carriageMagic is the first line of a file of streams; the number is that of the file's form. Behind it stand encoded
	// ExportStreamsResponse messages, each with its length before it as a protobuf varint.
	carriageMagic = "entente streams 1\n"
	// mostCarried bounds one message of such a file: no node takes a larger one.
	mostCarried = 4 << 20
)

// ErrCarriage says that a file of streams is damaged, cut, or none. What it holds is verified by the node alone.
var ErrCarriage = errors.New("the file of streams cannot be used")

// Carriage describes a file of streams.
type Carriage struct {
	// Header says who made it, for whom, and when by that node's clock. Nobody has signed it.
	Header *ententev1.ExportHeader
	// Owners whose streams are in it, in order.
	Owners []CarriedOwner
	// Receipts of the exporting member.
	Receipts int
}

// CarriedOwner is one owner's streams in a file.
type CarriedOwner struct {
	// Owner of the streams.
	Owner string
	// Streams of which the file says anything.
	Streams int
	// Entries in it.
	Entries int
}

func (c *Carriage) add(m *ententev1.ExportStreamsResponse) {
	last := len(c.Owners) - 1
	switch content := m.GetContent().(type) {
	case *ententev1.ExportStreamsResponse_Header:
		c.Header = content.Header
	case *ententev1.ExportStreamsResponse_Owner:
		c.Owners = append(c.Owners, CarriedOwner{Owner: content.Owner})
	case *ententev1.ExportStreamsResponse_Receipt:
		c.Receipts++
	case *ententev1.ExportStreamsResponse_Pull:
		if last < 0 {
			return
		}
		if content.Pull.GetCheckpoint() != nil {
			c.Owners[last].Streams++
		}
		c.Owners[last].Entries += len(content.Pull.GetEntries().GetEntries())
	}
}

// carriageEnd checks that nothing is missing: it counts and hashes messages until the one that says how many there were.
type carriageEnd struct {
	count uint64
	sum   hash.Hash
	ended bool
}

func newCarriageEnd() *carriageEnd { return &carriageEnd{sum: sha256.New()} }

// take notes a message; encoded is what it was read from.
func (e *carriageEnd) take(m *ententev1.ExportStreamsResponse, encoded []byte) error {
	end := m.GetEnd()
	switch {
	case e.ended:
		return fmt.Errorf("%w: there is something after its end", ErrCarriage)
	case (m.GetHeader() != nil) != (e.count == 0):
		return fmt.Errorf("%w: a header stands at its beginning and nowhere else", ErrCarriage)
	case end != nil && (end.GetMessages() != e.count || !bytes.Equal(end.GetSha256(), e.sum.Sum(nil))):
		return fmt.Errorf("%w: count or hash at its end are not those of what came before: it was altered, or the node is of a newer version", ErrCarriage)
	}
	e.ended = end != nil
	e.count++
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(encoded)))
	e.sum.Write(length[:]) // a hash takes everything
	e.sum.Write(encoded)
	return nil
}

// ExportStreams writes a file with what a member may read of what the own node holds, to be carried to that member's node.
// The file holds records: seal it (the command does). What was written before an error is no file.
func (c *Client) ExportStreams(ctx context.Context, request *ententev1.ExportStreamsRequest, to io.Writer) (*Carriage, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call, err := c.Admin().ExportStreams(ctx, request)
	if err != nil {
		return nil, failed("export streams", err)
	}
	_, err = io.WriteString(to, carriageMagic)
	if err != nil {
		return nil, fmt.Errorf("export streams: write: %w", err)
	}
	summary, end := &Carriage{}, newCarriageEnd()
	for {
		m, err := call.Recv()
		if errors.Is(err, io.EOF) && end.ended {
			return summary, nil
		}
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("export streams: the node ended before the end")
		}
		if err != nil {
			return nil, failed("export streams", broken(err))
		}
		err = writeCarried(to, m, end)
		if err != nil {
			return nil, fmt.Errorf("export streams: %w", err)
		}
		summary.add(m)
	}
}

func writeCarried(to io.Writer, m *ententev1.ExportStreamsResponse, end *carriageEnd) error {
	encoded, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	err = end.take(m, encoded)
	if err != nil {
		return err
	}
	_, err = to.Write(append(protowire.AppendVarint(nil, uint64(len(encoded))), encoded...))
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// carriageReader reads the messages of a file of streams.
type carriageReader struct {
	from *bufio.Reader
	end  *carriageEnd
}

func newCarriageReader(r io.Reader) (*carriageReader, error) {
	from := bufio.NewReaderSize(r, 64<<10)
	magic := make([]byte, len(carriageMagic))
	_, err := io.ReadFull(from, magic)
	if err != nil && !isEnd(err) {
		return nil, fmt.Errorf("read the file of streams: %w", err)
	}
	if string(magic) != carriageMagic {
		return nil, fmt.Errorf("%w: it does not begin like one, or is of a newer form", ErrCarriage)
	}
	return &carriageReader{from: from, end: newCarriageEnd()}, nil
}

// next gives a message as it stands in the file, and io.EOF behind the last one, whose count and hash are right.
func (r *carriageReader) next() (*ententev1.ExportStreamsResponse, []byte, error) {
	length, err := r.length()
	if errors.Is(err, io.EOF) && r.end.ended {
		return nil, nil, io.EOF
	}
	encoded := make([]byte, length)
	if err == nil {
		_, err = io.ReadFull(r.from, encoded)
	}
	if isEnd(err) {
		return nil, nil, fmt.Errorf("%w: it was cut", ErrCarriage)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the file of streams: %w", err)
	}
	m := &ententev1.ExportStreamsResponse{}
	err = proto.Unmarshal(encoded, m)
	if err != nil { // the library's text may quote content
		return nil, nil, fmt.Errorf("%w: message %d cannot be read", ErrCarriage, r.end.count+1)
	}
	return m, encoded, r.end.take(m, encoded)
}

// length reads a varint in its shortest form; io.EOF where there is nothing.
func (r *carriageReader) length() (uint64, error) {
	var read []byte
	for len(read) < binary.MaxVarintLen64 {
		b, err := r.from.ReadByte()
		if errors.Is(err, io.EOF) && len(read) > 0 {
			return 0, io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		read = append(read, b)
		if b < 0x80 {
			break
		}
	}
	length, n := protowire.ConsumeVarint(read)
	if n < 0 || n != protowire.SizeVarint(length) || length == 0 || length > mostCarried {
		return 0, fmt.Errorf("%w: message %d has no length that can be", ErrCarriage, r.end.count+1)
	}
	return length, nil
}

// ImportStreams hands a file of streams to the own node, which verifies it like a pull. With checkOnly nothing is kept: ask
// for that first, with the whole file, so that a damaged one leaves nothing behind. Importing a file twice changes nothing.
func (c *Client) ImportStreams(ctx context.Context, file io.Reader, checkOnly bool) (*ententev1.ImportStreamsResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	from, err := newCarriageReader(file)
	if err != nil {
		return nil, err
	}
	call, err := c.Admin().ImportStreams(ctx)
	if err != nil {
		return nil, failed("import streams", err)
	}
	options := &ententev1.ImportOptions{CheckOnly: checkOnly}
	err = call.Send(&ententev1.ImportStreamsRequest{Content: &ententev1.ImportStreamsRequest_Options{Options: options}})
	if err == nil {
		err = sendCarried(call, from)
	}
	if err != nil && !errors.Is(err, io.EOF) { // io.EOF: the node has ended the call, and says why below
		return nil, err
	}
	response, err := call.CloseAndRecv()
	if err != nil {
		return nil, failed("import streams", broken(err))
	}
	return response, nil
}

// sendCarried sends the messages of a file. io.EOF says that the node has ended the call.
func sendCarried(call grpc.ClientStreamingClient[ententev1.ImportStreamsRequest, ententev1.ImportStreamsResponse], from *carriageReader) error {
	for {
		_, encoded, err := from.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		err = call.Send(&ententev1.ImportStreamsRequest{Content: &ententev1.ImportStreamsRequest_Message{Message: encoded}})
		if errors.Is(err, io.EOF) {
			return err
		}
		if err != nil {
			return failed("import streams", broken(err))
		}
	}
}
