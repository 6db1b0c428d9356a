package server_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// halfCalls begins calls of which nothing but the length of the request is ever sent, and counts those that are refused.
type halfCalls struct {
	w       *world
	frames  *http2.Framer
	refused chan struct{}
}

func (n *node) halfCalls(of member.ID, refused chan struct{}) *halfCalls {
	n.w.t.Helper()
	certificate, err := n.w.fed.Certificate(member.Identity{Member: of, Kind: member.KindNode})
	n.w.must(err)
	conn, err := tls.Dial("tcp", n.address, member.NodeClientTLS(fixed(certificate), func() *member.Roster { return n.w.directory().Roster }, n.id))
	n.w.must(err)
	n.w.t.Cleanup(func() { conn.Close() })
	_, err = conn.Write([]byte(http2.ClientPreface))
	n.w.must(err)
	h := &halfCalls{w: n.w, frames: http2.NewFramer(conn, conn), refused: refused}
	n.w.must(h.frames.WriteSettings())
	go func() { // ends with the connection
		for {
			frame, err := h.frames.ReadFrame()
			if err != nil {
				return
			}
			headers, ok := frame.(*http2.HeadersFrame)
			if ok && headers.StreamEnded() {
				h.refused <- struct{}{}
			}
		}
	}()
	return h
}

func (h *halfCalls) begin(count int) {
	h.w.t.Helper()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := range uint32(count) {
		block.Reset()
		for _, field := range [][2]string{
			{":method", "POST"}, {":scheme", "https"}, {":path", ententev1.ExchangeService_SubmitReceipts_FullMethodName},
			{":authority", "node"}, {"content-type", "application/grpc"}, {"te", "trailers"},
		} {
			h.w.must(encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
		}
		h.w.must(h.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block.Bytes(), EndHeaders: true}))
		h.w.must(h.frames.WriteData(2*i+1, false, binary.BigEndian.AppendUint32([]byte{0}, 4<<20)))
	}
}

func TestRequestsThatNeverComeWholeAreBoundedForOneThatHasLeft(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	w.leaveFederation(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE, "XB", "XB")
	// Which of the connections is served first is not known: of all calls five are too many.
	refused := make(chan struct{}, 1000)
	for _, calls := range []int{128, 128, 5} {
		h := n.halfCalls("XB", refused)
		h.begin(calls)
	}
	for range 5 {
		select {
		case <-refused:
		case <-patient(t).Done():
			t.Fatal("257 calls of which no request has come are under way")
		}
	}
	w.must(listOne(n.system("registry"), patient(t))) // others go on
}
