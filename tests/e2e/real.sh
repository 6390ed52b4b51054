#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
# Programs that people run, started as a user would: what ebb says is held follows what they say themselves.
. "$(dirname "$0")/lib.sh"
need_ebb

need() { local tool; for tool in "${@:2}"; do command -v "$tool" >/dev/null || { skip "$1" "$tool is not installed"; return 1; }; done; }

# --- redis: jemalloc, and its own account of the memory in use ---
redis() {
	need real.redis redis-server redis-cli redis-benchmark || return
	local port pid before after
	port=$(free_port)
	cli() { redis-cli -h 127.0.0.1 -p "$port" "$@" | tr -d '\r'; }
	used() { cli info memory | awk -F: '$1 == "used_memory" { print $2 }'; }
	start redis redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$WORK"
	await redis 'Ready to accept connections' || { not_ok real.redis "it did not start"; return; }
	pid=${PID[redis]}
	ebb_run dry leak "$pid" --dry-run
	says real.redis.family "$WORK/dry.out" '^ *jemalloc in .*: probed'
	attached_or_fail real.redis.attach redis-ebb leak "$pid" -f folded --max-overhead none || return
	before=$(used)
	# Large values: used_memory counts size classes, ebb what was asked for; here they differ by 3 %.
	redis-benchmark -h 127.0.0.1 -p "$port" -t set -n 50000 -r 1000000 -d 1000 -P 8 -q >"$WORK/redis-bench.out" 2>&1
	is real.redis.load $? 0
	[ "$(cli set one more)" = OK ] || not_ok real.redis.cli "redis-cli cannot set"
	after=$(used)
	stop redis-ebb
	is real.redis.status "$STATUS" 0 || show "$WORK/redis-ebb.err"
	note "redis: used_memory grew by $((after - before)), held $(folded_total "$WORK/redis-ebb.out")"
	check real.redis.held "held $(folded_total "$WORK/redis-ebb.out"), used_memory grew by $((after - before))" \
		within "$(folded_total "$WORK/redis-ebb.out")" $((after - before)) 10
	check real.redis.valid "no folded stacks" folded_valid "$WORK/redis-ebb.out"
	is real.redis.errors "$(cli info stats | awk -F: '$1 == "total_error_replies" { print $2 }')" 0
	# A second look: everything that is deleted was allocated before it.
	if attached_or_fail real.redis.flush.attach redis-ebb leak "$pid" -f folded --max-overhead none; then
		is real.redis.flush "$(cli flushall sync)" OK
		stop redis-ebb
		is real.redis.flush.status "$STATUS" 0 || show "$WORK/redis-ebb.err"
		check real.redis.flush.held "held $(folded_total "$WORK/redis-ebb.out") after everything was deleted" \
			test "$(folded_total "$WORK/redis-ebb.out")" -lt 1000000
	fi
	is real.redis.ping "$(cli ping)" PONG
	cli shutdown nosave >/dev/null 2>&1
	wait_end redis
	is real.redis.shutdown "$STATUS" 0
}

# --- nginx: a worker of another user, under load ---
nginx() {
	need real.nginx nginx curl || return
	local port worker i
	port=$(free_port)
	mkdir "$WORK/nginx" "$WORK/nginx/html"
	chmod -R 755 "$WORK/nginx"
	head -c 20000 /dev/zero | tr '\0' x >"$WORK/nginx/html/page.html"
	# the tests' folder is closed to others, and workers of root are others
	cat >"$WORK/nginx/nginx.conf" <<-END
		$([ "$(id -u)" != 0 ] || echo 'user root;')
		worker_processes 1;
		daemon off;
		pid $WORK/nginx/pid;
		error_log stderr notice;
		events { worker_connections 128; }
		http {
			access_log off;
			client_body_temp_path $WORK/nginx/body;
			proxy_temp_path $WORK/nginx/proxy;
			fastcgi_temp_path $WORK/nginx/fastcgi;
			uwsgi_temp_path $WORK/nginx/uwsgi;
			scgi_temp_path $WORK/nginx/scgi;
			default_type text/html;
			gzip on;
			gzip_min_length 1;
			server { listen 127.0.0.1:$port; location / { root $WORK/nginx/html; } }
		}
	END
	start nginx "$(command -v nginx)" -p "$WORK/nginx" -c "$WORK/nginx/nginx.conf"
	until_true 20 port_open "$port" || { not_ok real.nginx "it did not start"; show "$WORK/nginx.err"; return; }
	worker=$(cat "/proc/${PID[nginx]}/task/${PID[nginx]}/children" | awk '{ print $1 }')
	[ -n "$worker" ] || { not_ok real.nginx "no worker"; return; }
	OTHERS+=("$worker")
	attached_or_fail real.nginx.attach nginx-ebb leak "$worker" -f folded --value alloc-blocks --max-overhead none || return
	for i in 1 2 3; do
		start "curl$i" curl -s --compressed -o /dev/null -w '%{http_code}\n' "http://127.0.0.1:$port/page.html?[1-1000]"
	done
	for i in 1 2 3; do
		wait_end "curl$i" 120
		is "real.nginx.curl$i" "$STATUS" 0
		is "real.nginx.replies$i" "$(sort "$WORK/curl$i.out" | uniq -c | xargs)" "1000 200"
	done
	stop nginx-ebb
	is real.nginx.status "$STATUS" 0 || show "$WORK/nginx-ebb.err"
	check real.nginx.valid "no folded stacks" folded_valid "$WORK/nginx-ebb.out"
	check real.nginx.blocks "fewer allocations than requests: $(folded_total "$WORK/nginx-ebb.out")" \
		test "$(folded_total "$WORK/nginx-ebb.out")" -gt 3000
	check real.nginx.names "no frame of nginx itself" grep -Eq ';(nginx\+0x|ngx_)' "$WORK/nginx-ebb.out"
	check real.nginx.worker "the worker died" alive "$worker"
	says_not real.nginx.log "$WORK/nginx.err" 'exited on signal|\[(alert|crit|emerg|error)\]'
	stop nginx QUIT
	is real.nginx.shutdown "$STATUS" 0
}

# --- python: a list that grows ---
python() {
	need real.python /usr/bin/python3 || return
	cat >"$WORK/grow.py" <<-'END'
		import os, sys
		print("ready", os.getpid(), flush=True)
		for line in sys.stdin:
		    if line.strip() == "quit":
		        break
		    kept = [bytes(1000) for _ in range(20000)]
		    print("done", sum(map(sys.getsizeof, kept)) + sys.getsizeof(kept), flush=True)
	END
	start python env PYTHONMALLOC=malloc /usr/bin/python3 "$WORK/grow.py"
	await python '^ready' || { not_ok real.python "it did not start"; return; }
	attached_or_fail real.python.attach python-ebb leak "${PID[python]}" -f folded --max-overhead none || return
	ask python go '^done' 120 || { not_ok real.python "it did not finish"; return; }
	stop python-ebb
	is real.python.status "$STATUS" 0 || show "$WORK/python-ebb.err"
	check real.python.held "not what the list holds" \
		within "$(folded_total "$WORK/python-ebb.out")" "$(awk '/^done/ { print $2 }' "${OUT[python]}")" 10
	check real.python.valid "no folded stacks" folded_valid "$WORK/python-ebb.out"
	tell python quit
	wait_end python
	is real.python.shutdown "$STATUS" 0
}

# --- node: Buffers that a Map keeps ---
node() {
	need real.node node || return
	cat >"$WORK/buffers.js" <<-'END'
		const kept = new Map();
		let input = '';
		console.log('ready ' + process.pid);
		process.stdin.on('data', (data) => {
			input += data;
			if (input.includes('quit')) process.exit(0);
			if (!input.includes('go') || kept.size) return;
			function keepBuffers() {
				// Zeroed and not: calloc and malloc. Above the size that node cuts from a pool of its own.
				for (let i = 0; i < 2000; i++)
					kept.set('key' + i, i % 2 ? Buffer.alloc(16384) : Buffer.allocUnsafeSlow(16384));
			}
			keepBuffers();
			console.log('done ' + kept.size * 16384);
		});
	END
	start node "$(command -v node)" "$WORK/buffers.js"
	await node '^ready' || { not_ok real.node "it did not start"; return; }
	attached_or_fail real.node.attach node-ebb leak "${PID[node]}" -f folded --max-overhead none || return
	ask node go '^done' 120 || { not_ok real.node "it did not finish"; return; }
	stop node-ebb
	is real.node.status "$STATUS" 0 || show "$WORK/node-ebb.err"
	check real.node.held "not what the Map keeps" \
		within "$(folded_total "$WORK/node-ebb.out")" "$(awk '/^done/ { print $2 }' "${OUT[node]}")" 10
	check real.node.valid "no folded stacks" folded_valid "$WORK/node-ebb.out"
	check real.node.names "no frame of node is named" grep -Eq 'node::|v8::' "$WORK/node-ebb.out"
	tell node quit
	wait_end node
	is real.node.shutdown "$STATUS" 0
}

redis
nginx
python
node
finish
