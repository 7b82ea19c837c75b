"""The revisions of our own tables, one module each in `versions`; `dmapsvc.jobs.database` runs them.

The engine's tables have migrations of their own, which the engine runs.
"""

import logging

logging.getLogger("alembic").setLevel(logging.WARNING)  # before it is imported, which it tells at length
