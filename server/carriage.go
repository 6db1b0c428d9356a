package server

import (
	"context"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Importer takes streams that were carried by file, with the verification of a pull.
type Importer interface {
	// Import takes the messages of an export, in order; next gives io.EOF behind the last one. checkOnly verifies all and
	// keeps nothing. An error names the owner, the stream and the rule.
	Import(ctx context.Context, checkOnly bool, next func() (*ententev1.ExportStreamsResponse, error)) (*ententev1.ImportStreamsResponse, error)
}
