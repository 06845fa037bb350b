"""The Python SDK: one pure builder of requests and reader of answers, and two thin clients that move the bytes."""
