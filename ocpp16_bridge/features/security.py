"""Security profile and AuthorizationKey (security white paper, A00, A01, A05; obligations 9.1, 9.2)."""

import logging
import ssl

from ocpp16_bridge.authorization_key import check_authorization_key
from ocpp16_bridge.clock import Timer
from ocpp16_bridge.configuration_keys import Access, BooleanKey, IntegerKey, TextKey
from ocpp16_bridge.csms.connection import ConnectFailure, Target
from ocpp16_bridge.csms.security import basic_authorization, tls_context
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.configuration import Configuration
from ocpp16_bridge.features.security_events import SecurityEvents
from ocpp16_bridge.handlers import before_change, on_change
from ocpp16_bridge.settings import without_credentials

logger = logging.getLogger(__name__)


BASIC = (1, 2)  # profiles with Basic authentication
TLS = (2, 3)


class AuthorizationKey(TextKey):
    """Hexadecimal digits for 16 … 20 bytes, or text of 8 … 20 characters (SE-10, SE-11)."""

    def parse(self, text: str) -> str:
        check_authorization_key(text)
        return text


class Security(Feature):
    """Decides where and how the CSMS is dialled."""

    authorization_key = AuthorizationKey("AuthorizationKey", "", access=Access.WRITE_ONLY)
    security_profile = IntegerKey(
        "SecurityProfile", lambda settings: settings.csms.security_profile, minimum=0, maximum=3
    )
    cpo_name = TextKey("CpoName", None)
    additional_root_certificate_check = BooleanKey(
        "AdditionalRootCertificateCheck", default=False, access=Access.READ_ONLY
    )
    certificate_signed_max_chain_size = IntegerKey("CertificateSignedMaxChainSize", 10000, access=Access.READ_ONLY)
    certificate_store_max_length = IntegerKey("CertificateStoreMaxLength", 20, access=Access.READ_ONLY)

    def __init__(self, context: Context, configuration: Configuration, events: SecurityEvents) -> None:
        super().__init__(context)
        self._configuration = configuration
        self._events = events
        # The profile to fall back to, while a raised one has not connected yet (SE-07).
        self._former = context.store.collection("former_security_profile", int)
        self._fallback: Timer | None = None
        self._refusal_is_known = False  # of our credentials, by the CSMS, since the last connection
        context.csms.endpoint.on_connected.append(self._connected)
        context.csms.endpoint.on_refused.append(self._refused)

    def start(self) -> None:
        self.begin()

    def begin(self) -> None:
        """OCPP starts, maybe with a raised profile that has not connected yet."""
        if "profile" in self._former:
            self._wait_for_connection()

    # -- dialling

    def target(self) -> Target:
        """Where and how to dial now.

        Raises:
            OSError: a certificate file can't be read.

        """
        settings = self.context.settings
        profile = self.security_profile
        identity = settings.charge_point.id
        url = without_credentials(settings.csms.connection_url(identity, profile))
        headers = (basic_authorization(identity, self.authorization_key),) if self._uses_password() else ()
        return Target(url, headers, self._tls_context(profile) if url.startswith("wss:") else None)

    def public_url(self) -> str:
        """The URL of the CSMS as everybody may see it, without credentials."""
        return without_credentials(self.context.settings.csms.url_for(self.security_profile))

    def _uses_password(self) -> bool:
        return self.security_profile in BASIC and bool(self.authorization_key)

    def _tls_context(self, profile: int) -> ssl.SSLContext:
        csms = self.context.settings.csms
        own = (csms.client_certificate, csms.client_key) if profile == max(TLS) else (None, None)
        return tls_context(csms.ca_file, *own, verify_host_name=csms.verify_host_name)

    def _refused(self, failure: ConnectFailure) -> None:
        """TR-08: told once, however often it is tried."""
        if failure.status in (401, 403) and not self._refusal_is_known:
            self._refusal_is_known = True
            self._events.raise_event("FailedToAuthenticateAtCentralSystem", f"HTTP {failure.status}")

    # -- changes

    @on_change("AuthorizationKey")
    def _key_changed(self, _former: str) -> None:
        """The answer goes out first; then the link is made anew with the new key (SE-12)."""
        self._events.raise_event("ReconfigurationOfSecurityParameters", "AuthorizationKey")
        if self.security_profile in BASIC:
            self._redial("new AuthorizationKey")

    @before_change("SecurityProfile")
    def _may_become(self, profile: int) -> bool:
        """SE-02 … SE-05."""
        csms = self.context.settings.csms
        conditions = {
            "a profile above the present one": profile > self.security_profile,
            "an AuthorizationKey": profile not in BASIC or bool(self.authorization_key),
            "an identity without colon": profile not in BASIC or ":" not in self.context.settings.charge_point.id,
            "a CentralSystemRootCertificate (csms.ca_file)": profile not in TLS or csms.ca_file is not None,
            "a charge point certificate": profile != max(TLS) or csms.client_certificate is not None,
            "certificates that can be read": profile not in TLS or self._can_read_certificates(profile),
        }
        missing = [what for what, is_met in conditions.items() if not is_met]
        if missing:
            logger.warning("security profile %s is refused: it needs %s", profile, ", ".join(missing))
        return not missing

    def _can_read_certificates(self, profile: int) -> bool:
        try:
            self._tls_context(profile)
        except OSError:
            return False
        return True

    @on_change("SecurityProfile")
    def _profile_changed(self, former: int) -> None:
        profile = self.security_profile
        self._events.raise_event("ReconfigurationOfSecurityParameters", f"SecurityProfile {profile}")
        if profile > former:
            self._former.put("profile", former)
            self._wait_for_connection()
        self._redial(f"security profile {profile}")

    def _redial(self, reason: str) -> None:
        if not self.context.csms.stopped:
            self.context.turns.ending(lambda: self.context.csms.line.redial(1000, reason))

    # -- a raised profile must prove itself (SE-07)

    def _wait_for_connection(self) -> None:
        self._cancel_fallback()
        limit = self.context.settings.csms.security_profile_fallback_timeout
        self._fallback = self.context.timers.after(limit, "security profile fallback", self._fall_back)

    def _cancel_fallback(self) -> None:
        if self._fallback is not None:
            self._fallback.cancel()
            self._fallback = None

    def _connected(self) -> None:
        # The link that is up when the profile is raised is still the former one's: it is closed before this is called.
        self._refusal_is_known = False
        self._cancel_fallback()
        self._former.delete("profile")

    def _fall_back(self) -> None:
        former = self._former.get("profile")
        if former is not None and not self.context.csms.stopped:  # `begin` waits again
            logger.error(
                "no connection with security profile %s: profile %s is used again", self.security_profile, former
            )
            self._former.delete("profile")
            self._configuration.set_value(type(self).security_profile, former)
