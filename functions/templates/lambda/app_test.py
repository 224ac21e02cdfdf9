"""Run with: python3 app_test.py"""

from types import SimpleNamespace

from app import handler

context = SimpleNamespace(aws_request_id="test")
assert handler({"name": "Ada"}, context) == {"message": "Hello, Ada!"}
assert handler({}, context) == {"message": "Hello, world!"}
print("ok")
