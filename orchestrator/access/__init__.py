"""How somebody proves who they are: keys of our own, and tokens of an identity provider. Pure but for
the provider's keys, which are fetched; what is stored about keys is `orchestrator.db.keys`."""
