//! REST, OpenAPI, the embedded page.
