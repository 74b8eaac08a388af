"""Another implementation of gRPC against the console, without generated code: everything it knows comes from reflection.

python independent.py ADDRESS TOKEN VEHICLES; prints what it saw, ends with 1 on the first thing that is not as promised.
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

    question, stranger = method("ListVehicles", bare)
    try:
        stranger(question(parent="organizations/default"), timeout=10)
        raise AssertionError("a call without a token was answered")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
    print(f"{len(services)} services, {len(names)} vehicles, {len(vehicle.twin.signals)} signals")


main()
