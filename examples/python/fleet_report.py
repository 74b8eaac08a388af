"""Reads a fleet with nothing but grpcio and the server's own reflection: no generated code.

    pip install grpcio grpcio-reflection
    python fleet_report.py 127.0.0.1:8080 TOKEN [ORGANIZATION]

Prints how many vehicles are online, and those with little charge. Ends with 1 and a sentence when the server says no.
"""

import sys

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class Bearer(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Adds the token to every call."""

    def __init__(self, token):
        self.metadata = [("authorization", f"Bearer {token}")]

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(details._replace(metadata=self.metadata), request)

    def intercept_stream_stream(self, continuation, details, requests):
        return continuation(details._replace(metadata=self.metadata), requests)


class Service:
    """A service's unary methods, by name, as the server describes them."""

    def __init__(self, channel, name):
        self.channel, self.name = channel, name
        self.descriptor = DescriptorPool(ProtoReflectionDescriptorDatabase(channel)).FindServiceByName(name)

    def call(self, method, **fields):
        found = self.descriptor.methods_by_name[method]
        answer = message_factory.GetMessageClass(found.output_type)
        request = message_factory.GetMessageClass(found.input_type)(**fields)
        invoke = self.channel.unary_unary(
            f"/{self.name}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return invoke(request, timeout=10)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    address, token = sys.argv[1:3]
    parent = f"organizations/{sys.argv[3] if len(sys.argv) > 3 else 'default'}"
    channel = grpc.intercept_channel(grpc.insecure_channel(address), Bearer(token))
    vehicles = Service(channel, "remuda.vehicles.v1.VehicleService")
    status = vehicles.call("GetFleetStatus", parent=parent)
    print(f"{status.total} vehicles, {status.online} online, {status.low_charge} with little charge")
    page_token = ""
    while True:
        page = vehicles.call(
            "ListVehicles", parent=parent, filter="charge_percent < 20", page_size=1000, page_token=page_token
        )
        for vehicle in page.vehicles:
            print(f"{vehicle.name.rsplit('/')[-1]} {vehicle.charge_percent:.0f}%")
        page_token = page.next_page_token
        if not page_token:
            return


try:
    main()
except grpc.RpcError as error:
    sys.exit(f"{error.code().name}: {error.details()}")
