"""Which Pods a Service reaches, as EndpointSlices and as Endpoints."""
