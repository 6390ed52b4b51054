// SPDX-License-Identifier: GPL-2.0-only
/*
 * Client HOW URL REQUESTS: an HTTP client, one request after the other.
 *
 *	each	a new HttpClient for each request, disposed after it
 *	shared	one HttpClient
 *
 * Input and output as those of client.py.
 */
using System;
using System.Collections.Generic;
using System.Net.Http;
using System.Net.Sockets;
using System.Threading.Tasks;

static class Program
{
	const int EADDRNOTAVAIL = 99;

	static double Now() => (DateTime.UtcNow - DateTime.UnixEpoch).TotalSeconds;

	static async Task Get(HttpClient client, string url)
	{
		using HttpResponseMessage reply = await client.GetAsync(url);
		reply.EnsureSuccessStatusCode();
		await reply.Content.ReadAsStringAsync();
	}

	static async Task GetWithNewClient(string url)
	{
		using var client = new HttpClient();
		await Get(client, url);
	}

	static async Task Main(string[] args)
	{
		string how = args[0], url = args[1];
		int requests = int.Parse(args[2]), ok = 0, exhausted = 0, other = 0;
		var errors = new SortedSet<string>();
		string first = null;
		using var shared = new HttpClient();

		Console.WriteLine("ready");
		Console.ReadLine();
		for (int i = 0; i < requests; i++)
		{
			double began = Now();
			try
			{
				await (how == "each" ? GetWithNewClient(url) : Get(shared, url));
				ok++;
			}
			catch (HttpRequestException error)
			{
				var socket = error.InnerException as SocketException;
				if (socket?.NativeErrorCode == EADDRNOTAVAIL)
				{
					exhausted++;
					first ??= $"first {began:F3} {Now():F3}";
				}
				else
				{
					other++;
				}
				errors.Add($"{socket?.SocketErrorCode} {socket?.NativeErrorCode} {error.Message}");
			}
		}
		foreach (string error in errors)
			Console.WriteLine("error " + error);
		if (first != null)
			Console.WriteLine(first);
		Console.WriteLine($"done {ok} {exhausted} {other}");
		Console.ReadLine();
	}
}
