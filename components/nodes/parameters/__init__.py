"""The parameters of the nodes, one file per node: `pipeline.planning.plan` makes them. No TensorFlow, no TFX.

A node gets its frozen model as one text, its JSON: text is what nodes can pass on every target. `code` is the digest of
the node's source: TFX's caches compare parameters and inputs, and so notice an edit. Trainer and Tuner have theirs in
`models`, beside the settings that they hold.
"""
