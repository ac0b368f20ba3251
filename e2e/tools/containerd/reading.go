package main

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layers are read to their end, and nothing is unpacked: that takes mounts, and those take root. containerd compares the digest
// that it gets with the diff_id in the config, as ever.
func init() {
	registry.Register(&plugin.Registration{
		Type:     plugins.DiffPlugin,
		ID:       "reading",
		Requires: []plugin.Type{plugins.MetadataPlugin},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			db, err := ic.GetSingle(plugins.MetadataPlugin)
			if err != nil {
				return nil, err
			}
			return reading{db.(*metadata.DB).ContentStore()}, nil
		},
	})
}

type reading struct{ layers content.Provider }

func (r reading) Apply(ctx context.Context, layer ocispec.Descriptor, _ []mount.Mount, _ ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	blob, err := r.layers.ReaderAt(ctx, layer)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("failed to open %s: %w", layer.Digest, err)
	}
	defer blob.Close()
	stream := diff.NewProcessorChain(layer.MediaType, content.NewReader(blob))
	for stream.MediaType() != ocispec.MediaTypeImageLayer {
		if stream, err = diff.GetProcessor(ctx, stream, nil); err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("failed to unpack %s: %w", layer.Digest, err)
		}
	}
	defer stream.Close()
	digester := digest.Canonical.Digester()
	size, err := io.Copy(digester.Hash(), stream)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("failed to read %s: %w", layer.Digest, err)
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: size, Digest: digester.Digest()}, nil
}

func (reading) Compare(context.Context, []mount.Mount, []mount.Mount, ...diff.Opt) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{}, errdefs.ErrNotImplemented
}
