"""The webhooks' side of one replica, whole: server, certificate, and what the leader does for it. Started by `main`.

`run` is supervised in every replica; `publish` is one of the leader's duties.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from sidewinder_operator.admission import tls
from sidewinder_operator.admission.mutate import Labels
from sidewinder_operator.admission.server import Admission
from sidewinder_operator.admission.validate import Others
from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.authority.root import Trust
from sidewinder_operator.authority.serving import Serving
from sidewinder_operator.authority.webhooks import LOOK_SECONDS, Webhooks
from sidewinder_operator.inject.options import Options

log = logging.getLogger("sidewinder.admission")


class Replica:
    """`names` are what the API server calls us by (`authority.webhooks.names`); `trust` is the CA's as it is now."""

    def __init__(
        self,
        options: Options,
        names: Sequence[str],
        api: ApiServer,
        trust: Callable[[], Trust],
        leader: Callable[[], bool],
        labels: Labels,
        others: Others,
        *,
        observe: Callable[[float], object] = lambda seconds: None,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        context = tls.context()
        self._context = context
        self.admission = Admission(options, labels, others, observe=observe)
        self.webhooks = Webhooks(
            api, trust, Serving(names), lambda served: tls.use(context, served), leader, look_seconds
        )

    async def run(self, address: str, port: int) -> None:
        """Serves until cancelled. Raises OSError when the port cannot be had."""
        certificate = asyncio.create_task(self.webhooks.serve(), name="webhook certificate")
        try:
            # Its first act is to make one, without waiting for anybody.
            await asyncio.sleep(0)
            await self.admission.open(address, port, self._context)
            log.info("admission port on %s:%d", *self.admission.address)
            await certificate
        finally:
            certificate.cancel()
            await asyncio.gather(certificate, return_exceptions=True)
            await self.admission.close()

    async def publish(self) -> None:
        """What the webhooks trust, until cancelled."""
        await self.webhooks.publish()
