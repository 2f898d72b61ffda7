"""The wire of identity: check the request, make the call, translate the answer. No SQL here."""

import contextlib
from collections.abc import AsyncIterator

from abacus.identity.v1 import identity_pb2 as pb
from identity import addresses, names, users
from identity.accounts import Accounts
from identity.codes import Codes
from identity.errors import NOT_ON_YOURSELF, SESSION_NOT_FOUND
from identity.sessions import Sessions
from identity.users import Channel, Target, User
from kit.calls import Call
from kit.db import Connection, Database
from kit.errors import NOT_ALLOWED
from kit.paging import Page


class Identity:
    """abacus.identity.v1.IdentityService."""

    def __init__(self, db: Database, accounts: Accounts, codes: Codes, sessions: Sessions):
        self.db = db
        self.accounts = accounts
        self.codes = codes
        self.sessions = sessions

    async def RegisterByEmail(self, request: pb.RegisterByEmailRequest, call: Call) -> pb.RegisterByEmailResponse:
        return pb.RegisterByEmailResponse(tokens=await self.accounts.register(request, call))

    async def RegisterByPhone(self, request: pb.RegisterByPhoneRequest, call: Call) -> pb.RegisterByPhoneResponse:
        return pb.RegisterByPhoneResponse(tokens=await self.accounts.register(request, call))

    async def LoginByEmail(self, request: pb.LoginByEmailRequest, call: Call) -> pb.LoginByEmailResponse:
        tokens = await self.accounts.login(_by_email(request.email), request.password, call)
        return pb.LoginByEmailResponse(tokens=tokens)

    async def LoginByPhone(self, request: pb.LoginByPhoneRequest, call: Call) -> pb.LoginByPhoneResponse:
        tokens = await self.accounts.login(_by_sms(request.phone), request.password, call)
        return pb.LoginByPhoneResponse(tokens=tokens)

    async def Refresh(self, request: pb.RefreshRequest, call: Call) -> pb.RefreshResponse:
        return pb.RefreshResponse(tokens=await self.sessions.refresh(request.refresh_token))

    async def Logout(self, request: pb.LogoutRequest, call: Call) -> pb.LogoutResponse:
        await self.sessions.end_by_token(request.refresh_token)
        return pb.LogoutResponse()

    async def SendEmailCode(self, request: pb.SendEmailCodeRequest, call: Call) -> pb.SendEmailCodeResponse:
        life_s = await self.codes.send_code(_by_email(request.email), call)
        return pb.SendEmailCodeResponse(expires_in=life_s)

    async def ConfirmEmail(self, request: pb.ConfirmEmailRequest, call: Call) -> pb.ConfirmEmailResponse:
        await self.codes.confirm(_by_email(request.email), request.code, call)
        return pb.ConfirmEmailResponse()

    async def SendPhoneCode(self, request: pb.SendPhoneCodeRequest, call: Call) -> pb.SendPhoneCodeResponse:
        life_s = await self.codes.send_code(_by_sms(request.phone), call)
        return pb.SendPhoneCodeResponse(expires_in=life_s)

    async def ConfirmPhone(self, request: pb.ConfirmPhoneRequest, call: Call) -> pb.ConfirmPhoneResponse:
        await self.codes.confirm(_by_sms(request.phone), request.code, call)
        return pb.ConfirmPhoneResponse()

    async def ChangePassword(self, request: pb.ChangePasswordRequest, call: Call) -> pb.ChangePasswordResponse:
        await self.accounts.change_password(request.current_password, request.new_password, call)
        return pb.ChangePasswordResponse()

    async def RequestPasswordReset(
        self, request: pb.RequestPasswordResetRequest, call: Call
    ) -> pb.RequestPasswordResetResponse:
        target = _by_email(request.email) if request.email else _by_sms(request.phone)
        return pb.RequestPasswordResetResponse(expires_in=await self.codes.send_reset_token(target, call))

    async def ResetPassword(self, request: pb.ResetPasswordRequest, call: Call) -> pb.ResetPasswordResponse:
        await self.codes.reset_password(request.reset_token, request.new_password, call)
        return pb.ResetPasswordResponse()

    async def GetMe(self, request: pb.GetMeRequest, call: Call) -> pb.GetMeResponse:
        async with self.db.transaction() as conn:
            await self.sessions.require_open(conn, call.principal)
            return pb.GetMeResponse(user=_user(await users.get(conn, _me(call))))

    async def UpdateMe(self, request: pb.UpdateMeRequest, call: Call) -> pb.UpdateMeResponse:
        me = _me(call)
        if request.HasField("id") and request.id != me:
            raise users.not_found(request.id)
        first_name = names.name(request.first_name, field="first_name")
        last_name = names.name(request.last_name, field="last_name")
        async with self.db.transaction() as conn:
            user = await users.lock(conn, me)
            await self.sessions.require_open(conn, call.principal)
            changed = await users.change(
                conn,
                user,
                first_name=first_name if request.HasField("first_name") else user.first_name,
                last_name=last_name if request.HasField("last_name") else user.last_name,
                language=request.language if request.HasField("language") else user.language,
            )
        return pb.UpdateMeResponse(user=_user(changed))

    async def ListSessions(self, request: pb.ListSessionsRequest, call: Call) -> pb.ListSessionsResponse:
        async with self.db.transaction() as conn:
            await self.sessions.require_open(conn, call.principal)
            found = await self.sessions.of_user(conn, _me(call), call.principal.session)
        return pb.ListSessionsResponse(sessions=found)

    async def EndSession(self, request: pb.EndSessionRequest, call: Call) -> pb.EndSessionResponse:
        async with self.db.transaction() as conn:
            await self.sessions.require_open(conn, call.principal)
            if not await self.sessions.end(conn, _me(call), request.session_id):
                raise SESSION_NOT_FOUND("there is no such open session")
        return pb.EndSessionResponse()

    async def EndOtherSessions(self, request: pb.EndOtherSessionsRequest, call: Call) -> pb.EndOtherSessionsResponse:
        async with self.db.transaction() as conn:
            await users.lock(conn, _me(call))
            await self.sessions.require_open(conn, call.principal)
            ended = await self.sessions.end_all(conn, _me(call), but=call.principal.session)
        return pb.EndOtherSessionsResponse(ended=ended)

    async def ListUsers(self, request: pb.ListUsersRequest, call: Call) -> pb.ListUsersResponse:
        page = Page(request)
        async with self.db.transaction() as conn:
            await self._require_admin(conn, call)
            found = await users.newest(
                conn,
                query=request.query,
                role=_ROLES[request.role] if request.role else None,
                is_disabled=request.disabled if request.HasField("disabled") else None,
                before=page.last_id,
                limit=page.limit,
            )
        shown, token = page.cut(found, key=lambda user: user.id)
        return pb.ListUsersResponse(users=[_user(user) for user in shown], next_page_token=token)

    async def GetUser(self, request: pb.GetUserRequest, call: Call) -> pb.GetUserResponse:
        async with self.db.transaction() as conn:
            await self._require_admin(conn, call)
            return pb.GetUserResponse(user=_user(await users.get(conn, request.user_id)))

    async def DisableUser(self, request: pb.DisableUserRequest, call: Call) -> pb.DisableUserResponse:
        async with self._judging(request.user_id, call) as conn:
            await users.disable(conn, request.user_id, request.reason)
            await self.sessions.end_all(conn, request.user_id)
        return pb.DisableUserResponse()

    async def EnableUser(self, request: pb.EnableUserRequest, call: Call) -> pb.EnableUserResponse:
        async with self._judging(request.user_id, call) as conn:
            await users.enable(conn, request.user_id)
        return pb.EnableUserResponse()

    async def SetUserRoles(self, request: pb.SetUserRolesRequest, call: Call) -> pb.SetUserRolesResponse:
        async with self._judging(request.user_id, call) as conn:
            await users.set_roles(conn, request.user_id, sorted(_ROLES[role] for role in request.roles))
        return pb.SetUserRolesResponse()

    @contextlib.asynccontextmanager
    async def _judging(self, user_id: int, call: Call) -> AsyncIterator[Connection]:
        """A transaction in which a service or an administrator changes an account, which is locked, not their own.

        An administrator's row is locked too, and looked at then: who was shut out or lost the role while this call
        waited changes nothing any more.
        """
        judge = call.principal.user
        if user_id == judge:
            raise NOT_ON_YOURSELF("nobody does this to their own account")
        async with self.db.transaction() as conn:
            locked = await users.lock_all(conn, [user_id] if judge is None else [user_id, judge])
            await self._require_admin(conn, call)
            if user_id not in [user.id for user in locked]:
                raise users.not_found(user_id)
            yield conn

    async def _require_admin(self, conn: Connection, call: Call) -> None:
        """Of a person: their token says what they were up to five minutes ago."""
        if call.principal.is_service:
            return
        if users.ADMIN not in await self.sessions.require_open(conn, call.principal):
            raise NOT_ALLOWED("this caller may not do that")


_ROLES: dict[pb.Role, str] = {pb.ROLE_CUSTOMER: users.CUSTOMER, pb.ROLE_ADMIN: users.ADMIN}


def _me(call: Call) -> int:
    assert call.principal.user is not None, "the contract admits persons only"
    return call.principal.user


def _by_email(text: str) -> Target:
    return Target(Channel.EMAIL, addresses.email(text))


def _by_sms(text: str) -> Target:
    return Target(Channel.SMS, addresses.phone(text))


def _user(user: User) -> pb.User:
    return pb.User(
        id=user.id,
        first_name=user.first_name,
        last_name=user.last_name,
        email=user.email,
        phone=user.phone,
        email_verified=user.email_verified,
        phone_verified=user.phone_verified,
        language=user.language,
        roles=[role for role, name in _ROLES.items() if name in user.roles],
        created_at=user.created_at,
        disabled_at=user.disabled_at,
    )
