package national

import (
	"errors"
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// maxDocumentFile bounds the files of rosters and chains: a document has at most 1 MB.
const maxDocumentFile = 64 << 20

// ParseDocument reads one signed document of the given type from its binary form (an encoded SignedDocument). It verifies
// no signature.
func ParseDocument(content []byte, typ string) (*ententev1.SignedDocument, error) {
	doc := &ententev1.SignedDocument{}
	err := proto.Unmarshal(content, doc)
	if err != nil {
		return nil, errors.New("not a signed document")
	}
	if doc.GetType() != typ {
		return nil, fmt.Errorf("a document of type %q, not %q", doc.GetType(), typ)
	}
	return doc, nil
}

// ParseChain reads the documents of one project from their binary form (an encoded ListProjectDocumentsResponse). It
// verifies no signature.
func ParseChain(content []byte) ([]*ententev1.SignedDocument, error) {
	list := &ententev1.ListProjectDocumentsResponse{}
	err := proto.Unmarshal(content, list)
	if err != nil || len(list.GetDocuments()) == 0 {
		return nil, errors.New("not a chain of project documents")
	}
	return list.GetDocuments(), nil
}

// readDocumentFile reads a file whole, up to maxDocumentFile.
func readDocumentFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxDocumentFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(content) > maxDocumentFile {
		return nil, fmt.Errorf("read %s: larger than any document (%d bytes)", path, maxDocumentFile)
	}
	return content, nil
}
