"""A reader with a card, the authorities' services, the agent and sites, each as its own process."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.served import free_port, serve
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.pcscd import RunningPcscd
from kazashi.tools.daemon.services import Services
from tests.support import until_connected

PIN, PASSWORD = "1234", "ABC123"
PROXY_SECRET = "only for tests"


@dataclass
class Stack:
    """The running programs of a browser test. Addresses have no trailing slash."""

    institutions: Institutions
    host: ReaderHost
    image: Path
    services: Services
    directory: Path
    agent: str
    site: str
    provider: str
    browser: Browser

    def insert(self, image: Path | None = None) -> None:
        """Put a card on the reader: hanako's by default."""
        slot = self.host.slots[0]
        self.host.insert(slot, (image or self.image).stem, image or self.image, Presentation())
        assert slot.wait_until_powered(10)

    def remove(self) -> None:
        """Remove the card from the reader."""
        self.host.remove(self.host.slots[0])


@contextmanager
def running_stack(institutions: Institutions, pcscd: RunningPcscd) -> Iterator[Stack]:
    """Start all programs, and stop them at the end."""
    world = institutions.world
    # Servers that drop their privileges must be able to read it.
    directory = Path(tempfile.mkdtemp(prefix="kazashi-web-"))
    directory.chmod(0o755)
    with ExitStack() as resources:
        resources.callback(shutil.rmtree, directory, ignore_errors=True)
        image = institutions.issue_card("hanako", "hanako")
        host = ReaderHost(pcscd.endpoints)
        resources.callback(host.close)
        services = Services(world)
        resources.callback(services.stop)
        environment = {**os.environ, **pcscd.client_environment(), "KAZASHI_PROXY_SECRET": PROXY_SECRET}
        agent = serve(directory, "agent", environment=environment)
        resources.callback(agent.stop)
        at_agent = f"http://127.0.0.1:{agent.port}"
        options = ("--services", services.status["http"], "--agent", at_agent)
        site = serve(directory, "site", *options, world=world.directory, environment=environment)
        resources.callback(site.stop)
        provider = serve(directory, "provider", *options, world=world.directory)
        resources.callback(provider.stop)
        playwright = resources.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        resources.callback(browser.close)
        stack = Stack(
            institutions, host, image, services, directory, at_agent, f"http://localhost:{site.port}",
            f"http://localhost:{provider.port}", browser,
        )  # fmt: skip
        stack.insert()
        yield stack


@contextmanager
def server(command: tuple[str, ...], port: int, log: Path) -> Iterator[None]:
    """Run a third-party server, and wait until it accepts connections on its port."""
    with log.open("wb") as output:
        process = subprocess.Popen(("setpriv", "--pdeathsig", "TERM", "--", *command), stdout=output, stderr=output)
    try:
        until_connected(port, process, log)
        yield
    finally:
        process.terminate()
        process.wait(10)


APACHE_HEAD = """
ServerRoot {directory}
PidFile {directory}/apache.pid
Listen 127.0.0.1:{port}
ServerName localhost
User www-data
Group www-data
Mutex file:{directory} default
ErrorLog {directory}/apache.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
"""
"""How each settings file of Apache begins. `modules` is APACHE_MODULES."""

APACHE_MODULES = "/usr/lib/apache2/modules"

APACHE = (
    APACHE_HEAD
    + """
DocumentRoot {directory}/www
LoadModule authn_core_module {modules}/mod_authn_core.so
LoadModule authz_user_module {modules}/mod_authz_user.so
LoadModule dir_module {modules}/mod_dir.so
LoadModule headers_module {modules}/mod_headers.so
LoadModule auth_openidc_module {modules}/mod_auth_openidc.so
OIDCProviderMetadataURL {provider}/.well-known/openid-configuration
OIDCClientID {client}
OIDCClientSecret {secret}
OIDCRedirectURI http://localhost:{port}/private/callback
OIDCCryptoPassphrase "a passphrase of the test"
OIDCScope "{scope}"
OIDCPKCEMethod S256
OIDCRemoteUserClaim sub
<Location /private>
  AuthType openid-connect
  Require valid-user
  Header set X-User "expr=%{{REMOTE_USER}}"
  Header set X-Name "%{{OIDC_CLAIM_name}}e"
</Location>
<Directory {directory}/www>
  Require all granted
</Directory>
"""
)


@contextmanager
def apache(stack: Stack, client: str, secret: str, scope: str, port: int) -> Iterator[str]:
    """Run Debian's Apache with mod_auth_openidc as a client of the provider; yields its address."""
    (stack.directory / "www" / "private").mkdir(parents=True, exist_ok=True)
    (stack.directory / "www" / "private" / "index.html").write_text("members only", encoding="ascii")
    settings = stack.directory / f"{client}.conf"
    settings.write_text(
        APACHE.format(directory=stack.directory, port=port, modules=APACHE_MODULES, client=client,
                      provider=stack.provider, secret=secret, scope=scope), encoding="ascii",
    )  # fmt: skip
    command = ("apache2", "-DFOREGROUND", "-f", str(settings))
    with server(command, port, stack.directory / "apache.out"):
        yield f"http://localhost:{port}"


NGINX_HEAD = """
daemon off;
user root;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log warn;
events {{}}
http {{
  access_log off;
  client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2; fastcgi_temp_path {directory}/t3;
  uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;
"""
"""How each settings file of nginx begins, up to its servers."""

NGINX = (
    NGINX_HEAD
    + """
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {directory}/server.pem;
    ssl_certificate_key {directory}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_conf_command ClientSignatureAlgorithms RSA+SHA256;
    ssl_client_certificate {directory}/root.pem;
    ssl_verify_client optional;
    location / {{
      proxy_pass {site};
      proxy_set_header X-Proxy-Secret "{secret}";
      proxy_set_header X-Client-Certificate $ssl_client_escaped_cert;
    }}
  }}
}}
"""
)


@contextmanager
def nginx(stack: Stack, root: bytes) -> Iterator[str]:
    """Run nginx in front of the sample site. It requests client certificates issued by `root` (PEM); yields its
    address."""
    port = free_port()
    (stack.directory / "root.pem").write_bytes(root)
    subprocess.run(
        ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", stack.directory / "server.key", "-out",
         stack.directory / "server.pem", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        check=True, capture_output=True,
    )  # fmt: skip
    settings = stack.directory / "nginx.conf"
    settings.write_text(NGINX.format(directory=stack.directory, port=port, site=stack.site, secret=PROXY_SECRET))
    with server(("nginx", "-c", str(settings)), port, stack.directory / "nginx.out"):
        yield f"https://localhost:{port}"
