"""Its place puts this folder on the import path: tests share the modules that lie beside it."""

import pytest

pytest.register_assert_rewrite("backend_promises")
