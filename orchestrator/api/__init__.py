"""ThousandEyes over HTTP: one attempt at one call, what its answer means, and what the API lists.

Where to look:

    client        a call becomes one attempt, and the attempt an answer
    credentials   tokens: read, checked, sent as the bytes leave, never shown
    proxy         the way to a server, by our own rules of NO_PROXY
    transport     one exchange with one server, over connections that know their first byte
    attempt       deadline, first byte and abort of one exchange
    failures      why nothing came back, in plain words
    response      what came back, read with every part missing perhaps
    verdict       what an answer to a snapshot request means; how long a 429 closes the gate
    catalog       the lists: account groups, tests, tags, alerts; the token's user
    read_limit    reading within the general limit of 240 requests a minute
    webhook       one message to one webhook
    ping          signs of life to a dead man's switch, in four styles
"""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.api.catalog import (
        AccountGroup,
        Alert,
        CatalogError,
        ConfiguredTest,
        Getter,
        Tag,
        TokenUser,
        parse_user,
        read_account_groups,
        read_alerts,
        read_permissions,
        read_tags,
        read_tests,
    )
    from orchestrator.api.client import Client, snapshot_call
    from orchestrator.api.credentials import Bearer, ReadBearer, read_bearer, read_bearers
    from orchestrator.api.ping import PingMessage, PingMoment, send_ping
    from orchestrator.api.read_limit import OnPause, PacedGetter, Pause
    from orchestrator.api.response import Answer, describe_stranger, explain, find_stranger, stranger_text
    from orchestrator.api.verdict import Outcome, Verdict, judge
    from orchestrator.api.webhook import post_message, read_address
else:
    __getattr__ = lazy_face(__name__)
