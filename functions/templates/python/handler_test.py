"""Run with: python3 handler_test.py"""

import unittest
from types import SimpleNamespace
from unittest.mock import Mock

from handler import handle


class HandlerTest(unittest.TestCase):
    def test_greets_whoever_is_named(self):
        context = Mock()
        self.assertEqual(handle(SimpleNamespace(text="Ada"), context), "Hello, Ada!")
        context.log.info.assert_called_once_with("greeting", name="Ada")


if __name__ == "__main__":
    unittest.main()
