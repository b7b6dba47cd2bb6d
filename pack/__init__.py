"""checkpoint -> graph -> folded -> quantized -> descriptors and words -> bundle."""
