"""Who may call what: the policy of every door, by contracts made here and by the real ones."""

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from abacus.access.v1 import access_pb2
from abacus.loms.v1 import loms_pb2, loms_pb2_grpc
from kit.access import ByContract, Owned
from kit.calls import Method, NoPolicyError, methods_of
from kit.errors import Error, Reason
from kit.testing import person_token, policy, refused, service_token
from kit.tokens import ANONYMOUS, Principal

LOMS = loms_pb2.DESCRIPTOR.services_by_name["LomsService"]
NOT_FOUND = Reason(5, "THING_NOT_FOUND", "a test says so")
OWNER, OTHER = Principal("user:1", 1), Principal("user:2", 2)
ADMIN = Principal("user:3", 3, roles=frozenset({"admin"}))
CHECKOUT = Principal("checkout")
FIELD = descriptor_pb2.FieldDescriptorProto


def contract(**rpcs):
    """A service on the fly: the name of each RPC and who may call it (None: it does not say)."""
    file = descriptor_pb2.FileDescriptorProto(
        name="things.proto", package="things", syntax="proto3", dependency=["abacus/access/v1/access.proto"]
    )

    def message(name, *fields, into=file.message_type):
        made = into.add(name=name)
        for number, (field, kind, guarded, many) in enumerate(fields, 1):
            field = made.field.add(
                name=field, number=number, label=FIELD.LABEL_REPEATED if many else FIELD.LABEL_OPTIONAL
            )
            if isinstance(kind, str):
                field.type, field.type_name = FIELD.TYPE_MESSAGE, kind
            else:
                field.type = kind
            field.options.Extensions[access_pb2.services_only] = guarded
        return made

    message("Line", ("price", FIELD.TYPE_INT64, True, False), ("sku", FIELD.TYPE_INT64, False, False),
            ("part", ".things.Line", False, False))  # fmt: skip
    ask = message(
        "Ask", ("user", FIELD.TYPE_INT64, False, False), ("thing_id", FIELD.TYPE_INT64, False, False),
        ("lines", ".things.Line", False, True), ("named", ".things.Ask.NamedEntry", False, True),
        ("codes", FIELD.TYPE_STRING, True, True), ("first", ".things.Line", False, False),
    )  # fmt: skip
    entry = message(
        "NamedEntry", ("key", FIELD.TYPE_STRING, False, False), ("value", ".things.Line", False, False),
        into=ask.nested_type,
    )  # fmt: skip
    entry.options.map_entry = True
    service = file.service.add(name="ThingService")
    for name, access in rpcs.items():
        rpc = service.method.add(name=name, input_type=".things.Ask", output_type=".things.Line")
        if access is not None:
            rpc.options.Extensions[access_pb2.access].CopyFrom(access_pb2.Access(**access))
    pool = descriptor_pool.DescriptorPool()
    for known in ("google/protobuf/descriptor.proto", "abacus/access/v1/access.proto"):
        pool.AddSerializedFile(descriptor_pool.Default().FindFileByName(known).serialized_pb)
    pool.Add(file)
    return pool.FindServiceByName("things.ThingService")


class Things:
    """Thing 1 is user 1's, thing 9 nobody's; there is no other."""

    def __init__(self):
        async def owner_of(thing_id):
            return {1: 1}.get(thing_id)

        self.owned = {"thing_id": Owned(owner_of, lambda thing_id: NOT_FOUND(f"there is no thing {thing_id}"))}
        self.full = {}

    def __getattr__(self, name):
        async def handle(request, call):
            raise AssertionError("nobody calls it here")

        return handle


class Names:
    """Tokens are names here: whose a real one is, test_tokens.py looks at."""

    def __init__(self):
        self.asked = []

    async def principal(self, token):
        self.asked.append(token)
        return {"owner": OWNER, "other": OTHER, "admin": ADMIN, "checkout": CHECKOUT}[token]


def guard(**access):
    """The policy of a service with one RPC, and that RPC."""
    service, things = contract(Do=access), Things()
    return ByContract([(service, things)], Names()), _method(service, things)


def _method(service, things):
    rpc = service.methods_by_name["Do"]
    ask = message_factory.GetMessageClass(rpc.input_type)
    access = access_pb2.Access.FromString(rpc.GetOptions().Extensions[access_pb2.access].SerializeToString())
    return Method("things.ThingService/Do", ask, ask, things.Do, access)


def ask(method, **fields):
    lines = {name: fields.pop(name) for name in ("named",) if name in fields}
    request = method.request_type(**fields)
    for key, line in lines.get("named", {}).items():
        for name, value in line.items():
            setattr(request.named[key], name, value)
    return request


async def may_call(by_contract, method, who):
    try:
        return await by_contract.admit(method, {"authorization": f"Bearer {who}"} if who else {}) or True
    except Error as error:
        return error.reason


class TestContracts:
    """What a door refuses to serve at all."""

    @pytest.mark.parametrize("access", [None, {}, {"public": False}, {"services": []}, {"public": True, "admin": True}])
    def test_a_method_without_policy_does_not_start(self, access):
        """Also an option that says nothing, or everybody and somebody; and also beside methods that have one."""
        service = contract(Open={"public": True}, Do=access)
        with pytest.raises(NoPolicyError, match=r"ThingService\.Do"):
            ByContract([(service, Things())], Names())
        with pytest.raises(NoPolicyError, match=r"ThingService\.Do"):
            methods_of(service, Things())

    def test_an_owner_that_nobody_looks_up_does_not_start(self):
        """The servicer has no `owned` for the field."""
        with pytest.raises(NoPolicyError, match="thing_id"):
            ByContract([(contract(Do={"owner": "thing_id"}), object())], Names())

    def test_an_owner_that_the_request_does_not_name_does_not_start(self):
        """A field that was renamed, say."""
        with pytest.raises(NoPolicyError, match="order_id"):
            ByContract([(contract(Do={"owner": "order_id"}), Things())], Names())

    def test_a_person_needs_no_look_up(self):
        """`user` names the person: there is nothing to ask."""
        ByContract([(contract(Do={"owner": "user"}), object())], Names())


ANYBODY = ("", "owner", "other", "admin", "checkout")


class TestAdmission:
    """Which kinds of callers come in."""

    @pytest.mark.parametrize(
        ("access", "admitted"),
        [
            ({"public": True}, ANYBODY),
            ({"user": True}, ("owner", "other", "admin")),
            ({"owner": "thing_id"}, ("owner", "other", "admin")),
            ({"admin": True}, ("admin",)),
            ({"services": ["checkout"]}, ("checkout",)),
            ({"services": ["local"]}, ()),
            ({"admin": True, "services": ["checkout"]}, ("admin", "checkout")),
            ({"owner": "user", "services": ["local"]}, ("owner", "other", "admin")),
        ],
        ids=str,
    )
    async def test_each_kind_of_caller(self, access, admitted):
        """Those whom the contract names, and nobody else."""
        by_contract, method = guard(**access)
        outcomes = {who: await may_call(by_contract, method, who) for who in ANYBODY}
        assert admitted == tuple(who for who, outcome in outcomes.items() if isinstance(outcome, Principal))
        refusals = {who: outcome for who, outcome in outcomes.items() if not isinstance(outcome, Principal)}
        assert {who: "NOT_ALLOWED" if who else "TOKEN_MISSING" for who in refusals} == refusals

    async def test_a_public_method_looks_at_no_token(self):
        """Whatever the header holds: nobody is asked, and nobody is who calls."""
        by_contract, method = guard(public=True)
        for header in ("Bearer nonsense", "Basic YTpi", "\x00"):
            assert ANONYMOUS is await by_contract.admit(method, {"authorization": header})
        assert [] == by_contract.verifier.asked

    @pytest.mark.parametrize("header", ["Bearer owner", "bearer owner", "BEARER owner", "Bearer  owner "])
    async def test_the_scheme_is_read_as_http_says(self, header):
        """In any case, with any number of spaces (RFC 9110)."""
        by_contract, method = guard(user=True)
        assert await by_contract.admit(method, {"authorization": header}) == OWNER
        assert ["owner"] == by_contract.verifier.asked

    @pytest.mark.parametrize(
        ("header", "reason"),
        [("", "TOKEN_MISSING"), ("owner", "TOKEN_INVALID"), ("Basic owner", "TOKEN_INVALID"),
         ("Bearer\towner", "TOKEN_INVALID"), ("Bearerowner", "TOKEN_INVALID"), (" Bearer owner", "TOKEN_INVALID"),
         ("Basic a, Bearer owner", "TOKEN_INVALID")],
    )  # fmt: skip
    async def test_another_header_is_refused(self, header, reason):
        """No scheme, another one, or none at the start."""
        by_contract, method = guard(user=True)
        with pytest.raises(Error) as caught:
            await by_contract.admit(method, {"authorization": header})
        assert reason == caught.value.reason
        assert [] == by_contract.verifier.asked

    async def test_no_header_is_a_missing_token(self):
        """And says how to give one."""
        by_contract, method = guard(user=True)
        with pytest.raises(Error) as caught:
            await by_contract.admit(method, {})
        assert ("TOKEN_MISSING", 16) == (caught.value.reason, caught.value.code)


async def refusal(by_contract, method, principal, **fields):
    with pytest.raises(Error) as caught:
        await by_contract.allow(method, ask(method, **fields), principal)
    return caught.value


class TestOwners:
    """What a request names is the caller's, or is not spoken of."""

    async def test_a_person_is_only_themselves(self):
        """`user` is the caller; nobody at all is somebody else too."""
        by_contract, method = guard(owner="user")
        await by_contract.allow(method, ask(method, user=1), OWNER)
        for user in (2, 0, -1):
            error = await refusal(by_contract, method, OWNER, user=user)
            assert ("NOT_YOURSELF", 7, ["user"]) == (error.reason, error.code, [name for name, _ in error.fields])
        assert "NOT_YOURSELF" == (await refusal(by_contract, method, ADMIN, user=1)).reason

    async def test_anothers_thing_is_as_none(self):
        """Letter by letter, but for its own number."""
        by_contract, method = guard(owner="thing_id")
        await by_contract.allow(method, ask(method, thing_id=1), OWNER)
        told = []
        for principal, thing in ((OTHER, 1), (ADMIN, 1), (OWNER, 2), (OWNER, 9), (OTHER, 9)):
            told.append((thing, await refusal(by_contract, method, principal, thing_id=thing)))
        assert [("THING_NOT_FOUND", 5, f"there is no thing {thing}") for thing, _ in told] == [
            (error.reason, error.code, error.message) for _, error in told
        ]

    @pytest.mark.parametrize("access", [{"owner": "thing_id", "admin": True}, {"owner": "user", "admin": True}])
    async def test_an_administrator_may_where_the_contract_says_so(self, access):
        """Anybody's; a customer may not."""
        by_contract, method = guard(**access)
        await by_contract.allow(method, ask(method, user=1, thing_id=1), ADMIN)
        await refusal(by_contract, method, OTHER, user=1, thing_id=1)

    async def test_every_person_may_where_the_contract_says_so(self):
        """Whoever one of the policies admits may call."""
        by_contract, method = guard(owner="thing_id", user=True)
        await by_contract.allow(method, ask(method, thing_id=1), OTHER)

    async def test_services_act_for_anybody(self):
        """Which services, the contract says before."""
        by_contract, method = guard(owner="user", services=["checkout"])
        await by_contract.allow(method, ask(method, user=5), CHECKOUT)


class TestServicesOnly:
    """Fields that a service fills in."""

    @pytest.mark.parametrize(
        ("fields", "paths"),
        [
            ({"lines": [{"sku": 1}, {"sku": 2, "price": 5}]}, ["lines[1].price"]),
            ({"lines": [{"price": 1}, {"price": 2}]}, ["lines[0].price", "lines[1].price"]),
            ({"first": {"price": 1}}, ["first.price"]),
            ({"first": {"part": {"part": {"price": -1}}}}, ["first.part.part.price"]),
            ({"codes": ["a"]}, ["codes"]),
            ({"named": {"a": {"price": 1}}}, ["named[].price"]),
            ({"named": {"a": {"sku": 1}, "b": {"price": 1}}}, ["named[].price"]),
        ],
    )
    async def test_a_person_may_not_set_them(self, fields, paths):
        """However deep they lie; an administrator is a person too, and so is whoever has no token."""
        by_contract, method = guard(public=True)
        for principal in (OWNER, ADMIN, ANONYMOUS):
            error = await refusal(by_contract, method, principal, **fields)
            assert ("FOR_SERVICES_ONLY", 3) == (error.reason, error.code)
            assert paths == [name for name, _ in error.fields]
        await by_contract.allow(method, ask(method, **fields), CHECKOUT)

    async def test_they_may_be_left_out(self):
        """Or be what they are when they are left out."""
        by_contract, method = guard(user=True)
        await by_contract.allow(method, ask(method, lines=[{"sku": 1, "price": 0}], named={"a": {"sku": 1}}), OWNER)

    async def test_so_many_are_named(self):
        """The first twenty: names of fields travel in a trailer."""
        by_contract, method = guard(user=True)
        assert 20 == len((await refusal(by_contract, method, OWNER, lines=[{"price": 1}] * 500)).fields)


class Loms:
    """Loms's contract: order 1 is user 1's, and what was called is written down."""

    def __init__(self):
        self.called = []
        self.users = []  # that the requests name

        async def owner_of(order_id):
            return {1: 1}.get(order_id)

        no_order = Reason(5, "ORDER_NOT_FOUND", "a test says so")
        self.owned = {"order_id": Owned(owner_of, lambda order: no_order(f"no order {order}"))}

    def __getattr__(self, name):
        if name not in LOMS.methods_by_name:
            raise AttributeError(name)

        async def handle(request, call):
            self.called.append((name, call.caller))
            self.users.append(getattr(request, "user", None))
            return call.answer_type()

        return handle


class TestDoor:
    """The same by wire, with real tokens, on the real contract of loms."""

    @pytest.fixture
    def servicer(self):
        return Loms()

    @pytest.fixture
    async def stub_for(self, open_door, servicer):
        async def stub(token):
            return loms_pb2_grpc.LomsServiceStub(await open_door(LOMS, servicer, token=token))

        return stub

    async def test_each_caller_gets_what_is_theirs(self, stub_for, servicer):
        """The owner sees an order, others none, an administrator and the developer's own token all of them."""
        look = loms_pb2.ListOrderRequest(order_id=1)
        for token in (person_token(1), person_token(3, roles=("admin",)), service_token("local", "loms")):
            await (await stub_for(token)).ListOrder(look)
        assert [("ListOrder", "user:1"), ("ListOrder", "user:3"), ("ListOrder", "local")] == servicer.called
        for token, code, reason in (
            (person_token(2), grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND"),
            (service_token("checkout", "loms"), grpc.StatusCode.PERMISSION_DENIED, "NOT_ALLOWED"),
            (service_token("local", "catalog"), grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"),
            ("nonsense", grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"),
            ("", grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING"),
        ):
            with refused(code, reason):
                await (await stub_for(token)).ListOrder(look)
        assert 3 == len(servicer.called)

    async def test_a_price_is_the_services(self, stub_for, servicer):
        """A person's order with a price is refused, checkout's is not."""
        order = loms_pb2.CreateOrderRequest(user=1, items=[loms_pb2.OrderItem(sku=1, count=1, price=5)])
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "FOR_SERVICES_ONLY", field="items[0].price"):
            await (await stub_for(person_token(1))).CreateOrder(order)
        await (await stub_for(service_token("checkout", "loms"))).CreateOrder(order)
        assert [("CreateOrder", "checkout")] == servicer.called

    async def test_a_person_who_is_not_named_is_the_caller(self, stub_for, servicer):
        """Not so a service, nor an administrator, who may ask for anybody and so has to say for whom."""
        order = loms_pb2.CreateOrderRequest(items=[loms_pb2.OrderItem(sku=1, count=1)])
        await (await stub_for(person_token(7))).CreateOrder(order)
        await (await stub_for(person_token(7))).ListOrders(loms_pb2.ListOrdersRequest())
        assert [7, 7] == servicer.users
        for token in (service_token("local", "loms"), person_token(3, roles=("admin",))):
            with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field="user"):
                await (await stub_for(token)).ListOrders(loms_pb2.ListOrdersRequest())

    async def test_who_may_not_call_learns_nothing_of_the_request(self, stub_for):
        """The token is looked at first: a request that is nonsense, too, is only not allowed."""
        with refused(grpc.StatusCode.PERMISSION_DENIED, "NOT_ALLOWED") as told:
            await (await stub_for(person_token(1))).OrderPayed(loms_pb2.OrderPayedRequest(order_id=-1))
        assert [] == told.fields

    async def test_the_contract_of_loms_starts(self, servicer):
        """With the look-ups that it needs, and not without."""
        policy((LOMS, servicer))
        servicer.owned = {}
        with pytest.raises(NoPolicyError):
            policy((LOMS, servicer))
