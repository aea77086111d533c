"""The only code that runs on engines: standard library only, sent to them as source.

A remote engine therefore needs ipyparallel, but not arcli. The modules import one another
relatively and nothing else of arcli's; ``arcli.session.transport.bundle`` packs them.
"""
