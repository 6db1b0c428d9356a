package replica

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

const (
	// maxReceipts is the field rule of SubmitReceiptsRequest, and receiptBytes keeps a request well below a message.
	maxReceipts  = 1000
	receiptBytes = 1 << 20
)

// submitReceipts hands the owner what this node owes it, until nothing is owed. If we crash between the owner's answer and
// the note of it, the same is sent again, which changes nothing there. One receipt that the owner refuses (it may have been
// restored from a backup, and know less than this node) does not hold up the others; it stays owed.
func submitReceipts(ctx context.Context, client ententev1.ExchangeServiceClient, owed Receipts, owner member.ID) error {
	refused := map[string]bool{}
	for {
		docs, err := owed.PendingReceipts(owner)
		if err != nil {
			return fmt.Errorf("receipts for %s: %w", owner, err)
		}
		docs = unrefused(docs, refused)
		if len(docs) == 0 {
			return nil
		}
		taken, err := submit(ctx, client, docs[:fitting(docs)])
		if err != nil && !isRefusal(err) {
			return err
		}
		if err != nil {
			taken, err = submitSingly(ctx, client, docs[:fitting(docs)], refused)
		}
		if err != nil {
			return err
		}
		err = owed.ReceiptsSent(ctx, taken)
		if err != nil {
			return fmt.Errorf("receipts for %s: %w", owner, err)
		}
	}
}

// receiptKey names a receipt by what it is about: it is signed anew, with another time, each time it is asked for.
func receiptKey(doc *ententev1.SignedDocument) string {
	r := &ententev1.Receipt{}
	err := proto.Unmarshal(doc.GetBody(), r)
	if err != nil {
		return string(doc.GetBody())
	}
	return string(r.GetStreamId())
}

func unrefused(docs []*ententev1.SignedDocument, refused map[string]bool) []*ententev1.SignedDocument {
	var list []*ententev1.SignedDocument
	for _, doc := range docs {
		if !refused[receiptKey(doc)] {
			list = append(list, doc)
		}
	}
	return list
}

// fitting is how many of the first documents go into one request, at least one.
func fitting(docs []*ententev1.SignedDocument) int {
	size := 0
	for i, doc := range docs {
		size += proto.Size(doc)
		if i > 0 && (i == maxReceipts || size > receiptBytes) {
			return i
		}
	}
	return len(docs)
}

func isRefusal(err error) bool {
	code := status.Code(errors.Unwrap(err))
	return code == codes.InvalidArgument || code == codes.NotFound
}

func submit(ctx context.Context, client ententev1.ExchangeServiceClient, docs []*ententev1.SignedDocument) ([]*ententev1.SignedDocument, error) {
	ctx, cancel := context.WithTimeout(ctx, unaryDeadline)
	defer cancel()
	var reached grpcpeer.Peer
	_, err := client.SubmitReceipts(ctx, &ententev1.SubmitReceiptsRequest{Receipts: docs}, grpc.Peer(&reached))
	if err != nil {
		return nil, asTold("submit receipts", err, &reached)
	}
	return docs, nil
}

func submitSingly(ctx context.Context, client ententev1.ExchangeServiceClient, docs []*ententev1.SignedDocument, refused map[string]bool) ([]*ententev1.SignedDocument, error) {
	var taken []*ententev1.SignedDocument
	for _, doc := range docs {
		one, err := submit(ctx, client, []*ententev1.SignedDocument{doc})
		if err != nil && !isRefusal(err) {
			return nil, err
		}
		if err != nil {
			refused[receiptKey(doc)] = true
		}
		taken = append(taken, one...)
	}
	return taken, nil
}
