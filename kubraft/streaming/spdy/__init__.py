"""SPDY/3.1 as Kubernetes' clients speak it: many streams over one connection. No I/O."""
