"""A machine somewhere else, for tests of egress: TCP says who called, UDP answers, and UDP 53 names every name 203.0.113.7.

Arguments: the address it listens on, the port of TCP and UDP.
"""

import socket
import sys
import threading

address, port = sys.argv[1], int(sys.argv[2])


def udp(number, answer):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, number))
    while True:
        question, client = server.recvfrom(2048)
        server.sendto(answer(question), client)


def name(question):
    record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04" + bytes([203, 0, 113, 7])
    return question[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + question[12:] + record


threading.Thread(target=udp, args=(port, lambda question: b"far " + question), daemon=True).start()
threading.Thread(target=udp, args=(53, name), daemon=True).start()
server = socket.create_server((address, port), backlog=64)
print("ready", flush=True)
while True:
    client, who = server.accept()
    client.sendall(b"far " + who[0].encode())
    client.close()
