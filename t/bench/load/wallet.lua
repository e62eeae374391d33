-- For wrk: requests with one token after the other, made ready beforehand.
--
--     wrk ... -s wallet.lua URL -- TOKENS PATH
--
-- TOKENS is a file with a token on each line.  Prints one line at the end.

local requests = {}
local turn = 0


function init(args)
    for token in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format('GET', args[2], {
            ['Host'] = wrk.headers['Host'] or 'localhost',
            ['Authorization'] = 'Bearer ' .. token,
        })
    end
end


function request()
    turn = turn % #requests + 1

    return requests[turn]
end


function done(summary, latency)
    local e = summary.errors

    print(string.format(
        'result requests=%d seconds=%.3f errors=%d p50_us=%d p99_us=%d',
        summary.requests, summary.duration / 1e6,
        e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(50), latency:percentile(99)))
end
