"""`kazashi agent`, `site`, `platform`, `tenant`, `provider`, `provider-client`: servers for logins with a card."""

from __future__ import annotations

import click

from kazashi.tools.cli.commands.shared import agent_option, new_world_of, port_option, services_option, world_of
from kazashi.web import ports


@click.command()
@port_option(ports.AGENT)
def agent(port: int) -> None:
    """Serve the agent between browser and card.

    The local agent shows which site asks for a login, takes the PIN, and lets the card in the reader sign.
    """
    from kazashi.assembly.served import serve_application
    from kazashi.relying_party.login.agent import Agent

    own = f"http://{ports.HOST}:{port}"
    click.echo(f"The agent is at {own}", err=True)
    serve_application(Agent(own).application(), port)


@click.command()
@port_option(ports.SITE)
@click.option(
    "--proxy-secret",
    default="",
    envvar="KAZASHI_PROXY_SECRET",
    help="The secret with which a TLS proxy passes on a client's certificate (docs/relying-parties.md).",
)
@services_option
@agent_option
@click.pass_context
def site(context: click.Context, port: int, proxy_secret: str, services: str, agent: str) -> None:
    """Serve a sample site with card login.

    People first register there with their cards.
    """
    from kazashi.assembly.actors import SAMPLE_SITE
    from kazashi.assembly.relying import over_http
    from kazashi.assembly.served import serve_application
    from kazashi.relying_party.login.sample_site import SampleSite
    from kazashi.relying_party.platform.platform import Platform

    world = world_of(context)
    verifier, linkage = over_http(world, services, SAMPLE_SITE.caller)
    origin = f"http://localhost:{port}"
    click.echo(f"The library is at {origin}", err=True)
    serve_application(
        SampleSite(world, verifier, Platform(world, linkage), origin, agent, proxy_secret).application(), port
    )


@click.command()
@port_option(ports.PLATFORM)
@services_option
@click.pass_context
def platform(context: click.Context, port: int, services: str) -> None:
    """Serve the platform operator over HTTP.

    It verifies certificates and assigns user IDs for many tenants. Its OpenAPI description is at /docs.
    """
    from kazashi.assembly.actors import PLATFORM
    from kazashi.assembly.relying import over_http
    from kazashi.assembly.served import serve_application
    from kazashi.relying_party.platform.platform import Platform
    from kazashi.relying_party.platform.platform_http import application
    from kazashi.relying_party.verify.challenges import StoredChallenges

    world = world_of(context)
    verifier, linkage = over_http(world, services, PLATFORM.caller)
    click.echo(f"The platform is at http://{ports.HOST}:{port}, its description at /docs", err=True)
    serve_application(application(Platform(world, linkage), verifier, StoredChallenges(world)), port)


@click.command("tenant")
@click.argument("name")
@click.argument("origins", nargs=-1)
@click.option("--follow", type=click.Choice(["certificate", "medium", "person"]),
              help="Which certificates are one user's: one alone, those of one card or phone, or all of a person"
              " (default for a new tenant: person).")  # fmt: skip
@click.pass_context
def tenant(context: click.Context, name: str, origins: tuple[str, ...], follow: str | None) -> None:
    """Register a tenant of the platform, or change one.

    ORIGINS are the origins at which people log in to the tenant's service, such as https://shop.example: it gets
    challenges for these only. Prints the key of a new NAME, which is shown only once. For a known NAME, the origins are
    added, and --follow replaces its policy.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.jpki.linkage import Follow
    from kazashi.relying_party.platform.platform import Platform, TenantExists
    from kazashi.relying_party.verify.linkage import NoLinkage

    operator = Platform(new_world_of(context), NoLinkage())
    try:
        click.echo(operator.add_tenant(name, origins, Follow(follow) if follow else Follow.PERSON))
    except TenantExists:
        if not origins and follow is None:
            raise
        if origins:
            together = operator.add_origins(name, origins)
            click.echo(f"The origins of {name} are {', '.join(together)}. Its key is the same as before.", err=True)
        if follow is not None:
            operator.set_follow(name, Follow(follow))
            click.echo(f"{name} follows: {follow}. Users whom it knows keep their IDs.", err=True)
    except ValueError as error:
        raise UsageError(str(error)) from error


@click.command()
@port_option(ports.PROVIDER)
@services_option
@agent_option
@click.pass_context
def provider(context: click.Context, port: int, services: str, agent: str) -> None:
    """Serve an OpenID Connect provider.

    Through it, any web framework can log people in with their cards.
    """
    from kazashi.assembly.actors import OPENID_PROVIDER
    from kazashi.assembly.relying import over_http
    from kazashi.assembly.served import serve_application
    from kazashi.relying_party.login.provider import Provider
    from kazashi.relying_party.platform.platform import Platform

    world = world_of(context)
    verifier, linkage = over_http(world, services, OPENID_PROVIDER.caller)
    issuer = f"http://localhost:{port}"
    click.echo(f"The provider's issuer is {issuer}", err=True)
    serve_application(Provider(world, verifier, Platform(world, linkage), issuer, agent).application(), port)


@click.command("provider-client")
@click.argument("name")
@click.argument("redirects", nargs=-1, required=True)
@click.option("--without-pkce", is_flag=True, help="Let the client leave PKCE out, which is less safe.")
@click.option("--id-token-alg", type=click.Choice(["RS256", "ES384"]), default="RS256", show_default=True,
              help="The algorithm that signs the client's ID tokens.")  # fmt: skip
@click.pass_context
def provider_client(
    context: click.Context, name: str, redirects: tuple[str, ...], without_pkce: bool, id_token_alg: str
) -> None:
    """Register a client of the provider.

    NAME is the client of the OpenID Connect provider, and REDIRECTS are its allowed redirect addresses. Prints the
    client's secret, which is shown only once.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.relying_party.login.provider_store import ProviderStore

    try:
        store = ProviderStore(new_world_of(context))
        click.echo(store.add_client(name, redirects, pkce=not without_pkce, algorithm=id_token_alg))
    except ValueError as error:
        raise UsageError(str(error)) from error
