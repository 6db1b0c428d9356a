package format

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// place is a node of a mapping file together with the file's name, so that every complaint says where.
type place struct {
	file string
	node *yaml.Node
}

// entry is one key of a YAML mapping with its value, in the order of the file.
type entry struct {
	key   string
	at    place // the key
	value place
}

// errorf is an error with the place in front, in the form that editors jump to.
func (p place) errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", p.file, p.node.Line, fmt.Sprintf(format, args...))
}

// child is another node of the same file. Anchors and aliases are refused: an alias may name an ancestor, and a table
// with a name says the same more plainly.
func (p place) child(node *yaml.Node) (place, error) {
	c := place{p.file, node}
	if node.Kind == yaml.AliasNode || node.Anchor != "" {
		return c, c.errorf("anchors and aliases are not read; give a table a name under \"tables\" instead")
	}
	return c, nil
}

// entries are the keys of a mapping. what names the thing for the message if it is something else.
func (p place) entries(what string) ([]entry, error) {
	if p.node.Kind != yaml.MappingNode {
		return nil, p.errorf("%s must be keys with values", what)
	}
	out := make([]entry, 0, len(p.node.Content)/2)
	seen := make(map[string]bool)
	for i := 0; i+1 < len(p.node.Content); i += 2 {
		at, err := p.child(p.node.Content[i])
		if err != nil {
			return nil, err
		}
		value, err := p.child(p.node.Content[i+1])
		if err != nil {
			return nil, err
		}
		if at.node.Kind != yaml.ScalarNode {
			return nil, at.errorf("a key of %s must be a single word", what)
		}
		if seen[at.node.Value] {
			return nil, at.errorf("%s has key %q twice", what, at.node.Value)
		}
		seen[at.node.Value] = true
		out = append(out, entry{at.node.Value, at, value})
	}
	return out, nil
}

// items are the elements of a sequence.
func (p place) items(what string) ([]place, error) {
	if p.node.Kind != yaml.SequenceNode {
		return nil, p.errorf("%s must be a list", what)
	}
	out := make([]place, 0, len(p.node.Content))
	for _, node := range p.node.Content {
		c, err := p.child(node)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// text is a scalar as written; ~ and null are the empty text.
func (p place) text(what string) (string, error) {
	if p.node.Kind != yaml.ScalarNode {
		return "", p.errorf("%s must be a single value", what)
	}
	if p.node.Tag == "!!null" {
		return "", nil
	}
	return p.node.Value, nil
}

// texts is a scalar or a list of scalars.
func (p place) texts(what string) ([]string, error) {
	if p.node.Kind == yaml.ScalarNode {
		s, err := p.text(what)
		return []string{s}, err
	}
	items, err := p.items(what)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(items))
	for _, item := range items {
		s, err := item.text(what)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// flag is true or false.
func (p place) flag(what string) (bool, error) {
	s, err := p.text(what)
	if err != nil {
		return false, err
	}
	if s != "true" && s != "false" {
		return false, p.errorf("%s must be true or false", what)
	}
	return s == "true", nil
}

// table is a mapping of scalars to scalars.
func (p place) table(what string) (map[string]string, error) {
	entries, err := p.entries(what)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(entries))
	for _, e := range entries {
		v, err := e.value.text(what + " value")
		if err != nil {
			return nil, err
		}
		out[e.key] = v
	}
	return out, nil
}

// unknown says which keys there are.
func (e entry) unknown(what string, allowed ...string) error {
	slices.Sort(allowed)
	return e.at.errorf("%s has no key %q; allowed: %s", what, e.key, strings.Join(allowed, ", "))
}

const yamlMapping = yaml.MappingNode

// sortedKeys are the keys of a table in a fixed order, so that the same mistake gives the same message.
func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
