"""The REST interface: `/api/v1` over the verbs of the service, one error body, one OpenAPI document."""
