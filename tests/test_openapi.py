"""spec/openapi.yaml is valid, and says what docs/reference/http.md says, whose examples are what the server answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, get_args
from urllib.parse import parse_qsl, urlsplit

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from openapi_spec_validator.readers import read_from_filename
from tests.test_docs import ROOT, blocks, parse_http, read

from pushline.http.api import MAX_KEY_BYTES, MAX_TARGETS, MAX_TTL_SECONDS, MAX_WAIT_SECONDS
from pushline.http.clients import MAX_LIST_LIMIT
from pushline.messages import (
    DEFAULT_DURATION_MINUTES,
    MAX_CLIENT_ID_BYTES,
    MAX_DURATION_MINUTES,
    Policy,
    Status,
)
from pushline.protocol.codes import PROBLEMS

Json = dict[str, Any]

SPEC: Json = dict(read_from_filename(str(ROOT / "spec/openapi.yaml"))[0])
PAGE = read("docs/reference/http.md").split("## A6")[0]
OPERATIONS: dict[tuple[str, str], Json] = {
    (method.upper(), path): operation
    for path, methods in SPEC["paths"].items()
    for method, operation in methods.items()
    if method != "parameters"
}
SCHEMAS: Json = SPEC["components"]["schemas"]
CODE = re.compile(r"`(\w+)`")


def resolved(part: Json) -> Json:
    """What a reference stands for."""
    while "$ref" in part:
        where = part["$ref"].removeprefix("#/").split("/")
        part = SPEC
        for name in where:
            part = part[name]
    return part


def faults(value: object, schema: Json) -> list[str]:
    """Why a value is not what a schema says."""
    whole = {**schema, "components": SPEC["components"]}  # where its references lead
    return [error.message for error in OAS31Validator(whole).iter_errors(value)]


def operation_of(method: str, target: str) -> tuple[str, Json]:
    """The operation that a request asks for, and its path."""
    path = urlsplit(target).path
    for (known, template), operation in OPERATIONS.items():
        pattern = re.sub(r"\{\w+\}", "[^/]+", template)
        if known == method.replace("HEAD", "GET") and re.fullmatch(pattern, path):
            return template, operation
    raise AssertionError(f"{method} {path} is not in the specification")


def parameters_of(path: str, operation: Json, place: str) -> dict[str, Json]:
    """The parameters of an operation in its path, query or headers."""
    every = [resolved(part) for part in [*SPEC["paths"][path].get("parameters", ()), *operation.get("parameters", ())]]
    return {parameter["name"]: parameter for parameter in every if parameter["in"] == place}


def examples() -> Iterator[tuple[str, str]]:
    """The requests of the reference, and their answers."""
    shown = blocks(PAGE, "http")
    return zip(shown[::2], shown[1::2], strict=True)


def tables() -> Iterator[tuple[tuple[str, str], dict[str, int]]]:
    """For each address of the reference, the codes that its table of refusals lists, with their status."""
    for method, path, text in re.findall(r"^### `([A-Z]+) (\S+)`\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S):
        yield (method, path), {code: int(status) for status, code in re.findall(r"^\| (\d{3}) \| `(\w+)`", text, re.M)}


def test_a_validator_finds_nothing() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(SPEC).iter_errors()] == []


def test_a_validator_finds_what_is_wrong() -> None:
    wrong = {**SPEC, "paths": {"/": {"get": {"responses": {"200": {}}}}}}
    assert list(OpenAPIV31SpecValidator(wrong).iter_errors())


class TestAddresses:
    def test_every_address_of_the_reference_is_there_and_nothing_else(self) -> None:
        assert {address for address, _ in tables()} == set(OPERATIONS)

    def test_those_that_need_no_key_say_so(self) -> None:
        without = {path for (_, path), operation in OPERATIONS.items() if operation.get("security") == []}
        assert without == {"/", "/health", "/ready"}

    def test_every_operation_has_a_name_of_its_own(self) -> None:
        names = [operation["operationId"] for operation in OPERATIONS.values()]
        assert len(set(names)) == len(names)

    def test_every_schema_is_used(self) -> None:
        text = read("spec/openapi.yaml")
        for kind, parts in SPEC["components"].items():
            for name in parts:
                assert kind == "securitySchemes" or f"#/components/{kind}/{name}" in text


class TestExamples:
    @pytest.mark.parametrize(("request_", "answer"), list(examples()))
    def test_an_example_of_the_reference_fits(self, request_: str, answer: str) -> None:
        (method, target, _), headers, body = parse_http(request_)
        (_, status, *_), answered, text = parse_http(answer)
        path, operation = operation_of(method, target)
        content = resolved(operation["responses"].get(status, operation["responses"]["default"])).get("content", {})
        kind = answered.get("Content-Type", "").partition(";")[0]
        assert set(content) >= {kind} - {""}
        if kind.endswith("json"):
            assert faults(json.loads(text), content[kind]["schema"]) == []
        elif kind:
            assert faults(text.decode(), content[kind]["schema"]) == []
        if int(status) < 300:
            self._check_request(path, operation, target, headers, body)

    def _check_request(self, path: str, operation: Json, target: str, headers: dict[str, str], body: bytes) -> None:
        query = dict(parse_qsl(urlsplit(target).query))
        known = parameters_of(path, operation, "query")
        assert set(query) <= set(known)
        for name, value in query.items():
            kind = resolved(known[name]["schema"])["type"]
            assert faults(json.loads(value) if kind != "string" else value, known[name]["schema"]) == []
        known = parameters_of(path, operation, "header")
        assert set(headers) - {"Authorization", "Accept", "Content-Type"} <= set(known)
        assert ("Authorization" in headers) == (operation.get("security") != [])
        assert bool(body) == ("requestBody" in operation)
        if not body:
            return
        content = operation["requestBody"]["content"]
        if "application/json" in content and headers.get("Content-Type") != "application/x-www-form-urlencoded":
            assert faults(json.loads(body), content["application/json"]["schema"]) == []
        elif "text/plain" in content:
            assert faults(body.decode(), content["text/plain"]["schema"]) == []

    @pytest.mark.parametrize(
        ("schema", "value"),
        [
            ("ChannelRequest", {"client_id": "ann", "policiy": "share"}),
            ("ChannelRequest", {"client_id": ""}),
            ("ChannelRequest", {"client_id": "ann", "duration_minutes": 1441}),
            ("Item", {"to": ["ann", ""], "data": "hello"}),
            ("Item", {"data": "hello"}),
            ("Sent", {"status": "sent"}),
            ("Sent", {"id": "1-0", "status": "lost"}),
            ("Results", {"results": [{"to": "ann"}]}),
            ("Problem", {"title": "It failed"}),
        ],
    )
    def test_what_is_wrong_does_not_fit(self, schema: str, value: object) -> None:
        assert faults(value, {"$ref": f"#/components/schemas/{schema}"}) != []


class TestRefusals:
    @pytest.mark.parametrize(("address", "listed"), list(tables()))
    def test_an_address_lists_those_of_the_reference(self, address: tuple[str, str], listed: dict[str, int]) -> None:
        said = {
            code: int(status)
            for status, answer in OPERATIONS[address]["responses"].items()
            if status not in ("default", "503") and int(status) >= 400
            for code in CODE.findall(resolved(answer)["description"])
        }
        assert said == listed

    def test_every_address_may_answer_with_any_other(self) -> None:
        for operation in OPERATIONS.values():
            assert operation["responses"]["default"] == {"$ref": "#/components/responses/Refused"}

    def test_every_code_of_the_application_is_listed_with_its_status(self) -> None:
        common = set(CODE.findall(SPEC["components"]["responses"]["Refused"]["description"]))
        special = {code for _, listed in tables() for code in listed}
        of_pages = {"origin_not_allowed", "upgrade_required"}
        assert common | special | of_pages == set(PROBLEMS)
        for operation in OPERATIONS.values():
            for status, answer in operation["responses"].items():
                if status != "default" and int(status) >= 400:
                    for code in CODE.findall(answer["description"]):
                        assert PROBLEMS[code].status == int(status)


class TestLimits:
    def test_the_numbers_are_those_of_the_code(self) -> None:
        channel = SCHEMAS["ChannelRequest"]["properties"]
        assert SCHEMAS["ClientId"]["maxLength"] == MAX_CLIENT_ID_BYTES
        assert channel["duration_minutes"]["maximum"] == MAX_DURATION_MINUTES
        assert channel["duration_minutes"]["default"] == DEFAULT_DURATION_MINUTES
        assert SCHEMAS["Item"]["properties"]["key"]["maxLength"] == MAX_KEY_BYTES
        assert SCHEMAS["Ttl"]["maximum"] == MAX_TTL_SECONDS
        send = parameters_of(
            "/v1/clients/{client_id}/messages", OPERATIONS["POST", "/v1/clients/{client_id}/messages"], "query"
        )
        assert send["wait"]["schema"]["maximum"] == MAX_WAIT_SECONDS
        assert SPEC["components"]["parameters"]["Limit"]["schema"]["maximum"] == MAX_LIST_LIMIT
        assert f"{MAX_TARGETS:,} targets" in OPERATIONS["POST", "/v1/messages"]["description"]

    def test_the_words_are_those_of_the_code(self) -> None:
        assert SCHEMAS["ChannelRequest"]["properties"]["policy"]["enum"] == [policy.value for policy in Policy]
        assert set(SCHEMAS["Status"]["enum"]) == set(get_args(Status))
