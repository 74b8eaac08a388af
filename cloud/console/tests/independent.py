"""Another implementation of gRPC against the console, without generated code: everything it knows comes from reflection.

python independent.py ADDRESS TOKEN VEHICLES; ends with 1 on the first thing that is not as promised. A line `do WORD` asks whoever
started it for something (`slow`, `quick`, `restart`), who answers with a line when it is done. The last line says what was seen.
"""

import sys

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "remuda.vehicles.v1.VehicleService"


class Bearer(
    grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor
):
    """Adds the token to every call."""

    def __init__(self, token):
        self.metadata = [("authorization", f"Bearer {token}")]

    def _with_token(self, details):
        return details._replace(metadata=self.metadata)

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(self._with_token(details), request)

    def intercept_unary_stream(self, continuation, details, request):
        return continuation(self._with_token(details), request)

    def intercept_stream_stream(self, continuation, details, requests):
        return continuation(self._with_token(details), requests)


def ask_for(word):
    print(f"do {word}", flush=True)
    assert sys.stdin.readline().strip() == "done"


def refused(call, code):
    """The error of a call that must fail with this code."""
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error
    raise AssertionError(f"{code} was expected")


def main():
    address, token, vehicles = sys.argv[1], sys.argv[2], int(sys.argv[3])
    bare = grpc.insecure_channel(address)
    health = health_pb2_grpc.HealthStub(bare)
    request = health_pb2.HealthCheckRequest(service=SERVICE)
    serving = health_pb2.HealthCheckResponse.SERVING
    assert next(health.Watch(request, timeout=10)).status in (serving, health_pb2.HealthCheckResponse.NOT_SERVING)

    channel = grpc.intercept_channel(bare, Bearer(token))
    database = ProtoReflectionDescriptorDatabase(channel)
    services = database.get_services()
    assert SERVICE in services, services
    pool = DescriptorPool(database)
    service = pool.FindServiceByName(SERVICE)

    def method(name, over):
        found = service.methods_by_name[name]
        answer = message_factory.GetMessageClass(found.output_type)
        kind = over.unary_stream if found.server_streaming else over.unary_unary
        call = kind(
            f"/{SERVICE}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return message_factory.GetMessageClass(found.input_type), call

    question, list_vehicles = method("ListVehicles", channel)
    names, page_token = [], ""
    while True:
        page = list_vehicles(
            question(parent="organizations/default", page_size=700, page_token=page_token), timeout=10
        )
        names += [vehicle.name for vehicle in page.vehicles]
        page_token = page.next_page_token
        if not page_token:
            break
    assert len(names) == len(set(names)) == vehicles, len(names)
    assert names == sorted(names)

    question, get_vehicle = method("GetVehicle", channel)
    vehicle = get_vehicle(question(name=names[1]), timeout=10)
    assert vehicle.twin.signals and vehicle.etag, vehicle
    for name, code in [
        (names[1] + "x", grpc.StatusCode.NOT_FOUND),
        ("organizations/other/vehicles/V1", grpc.StatusCode.PERMISSION_DENIED),
    ]:
        try:
            get_vehicle(question(name=name), timeout=10)
            raise AssertionError(f"{name} was answered")
        except grpc.RpcError as error:
            assert error.code() == code, error

    question, watch_vehicles = method("WatchVehicles", channel)
    stream = watch_vehicles(question(parent="organizations/default", interval_ms=100), timeout=20)
    seen = set()
    while len(seen) < vehicles:
        seen |= {vehicle.name for vehicle in next(stream).vehicles}
    stream.cancel()

    # A watch goes on through a restart of the server: what it missed comes, by its resume token.
    follow = question(parent="organizations/default", interval_ms=100, filter="open_alerts >= 0")
    stream, token = watch_vehicles(follow, timeout=60), ""
    while not token:
        token = next(stream).resume_token
    ask_for("restart")
    error = refused(lambda: [None for _ in stream], grpc.StatusCode.UNAVAILABLE)
    follow.resume_token = token
    again = watch_vehicles(follow, timeout=60, wait_for_ready=True)
    first = next(again)
    # This server was not there when the token was given out: it sends everything.
    assert first.full_state and first.vehicles, first
    again.cancel()

    # Deadlines end calls, and the work behind them.
    question, get_vehicle = method("GetVehicle", channel)
    ask_for("slow")
    refused(lambda: get_vehicle(question(name=names[1]), timeout=0.2), grpc.StatusCode.DEADLINE_EXCEEDED)
    ask_for("quick")
    assert get_vehicle(question(name=names[1]), timeout=10).etag

    # Conditional changes.
    policies = pool.FindServiceByName("remuda.policies.v1.PolicyService").methods_by_name["SetPolicy"]
    set_policy = channel.unary_unary(
        "/remuda.policies.v1.PolicyService/SetPolicy",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(policies.output_type).FromString,
    )
    policy = message_factory.GetMessageClass(policies.input_type)
    name = "organizations/default/policies/p"
    stale = refused(lambda: set_policy(policy(name=name, document="{}", etag='"5"'), timeout=10), grpc.StatusCode.ABORTED)
    details = dict(stale.trailing_metadata())["grpc-status-details-bin"]
    assert b"ETAG_MISMATCH" in details and b"remuda.dev" in details, details
    assert set_policy(policy(name=name, document="{}"), timeout=10).policy.etag

    question, stranger = method("ListVehicles", bare)
    refused(lambda: stranger(question(parent="organizations/default"), timeout=10), grpc.StatusCode.UNAUTHENTICATED)
    print(f"{len(services)} services, {len(names)} vehicles, {len(vehicle.twin.signals)} signals")


main()
