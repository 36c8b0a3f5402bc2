// Data channels of pion at a running stack: `go run . URL AGENT udp|tcp`. Prints one line of JSON, as
// libdatachannel.mjs does. With `tcp` it has no UDP, and connects to the relay's ICE-TCP port.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
)

type result struct {
	Protocol string `json:"protocol"`
	OpenedMs int64  `json:"openedMs"`
	Echoed   []int  `json:"echoed"`
	Problem  string `json:"problem,omitempty"`
}

func main() {
	var found result
	if err := call(os.Args[1], os.Args[2], os.Args[3], &found); err != nil {
		found.Problem = err.Error()
	}
	written, _ := json.Marshal(found)
	fmt.Println(string(written))
	if found.Problem != "" {
		os.Exit(1)
	}
}

func call(url, agent, protocol string, found *result) error {
	settings := webrtc.SettingEngine{}
	if protocol == "tcp" {
		settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	}
	settings.SetIncludeLoopbackCandidate(true)
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		return err
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(media))
	peer, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return err
	}
	defer peer.Close()
	if _, err = peer.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio); err != nil {
		return err
	}
	channel, err := peer.CreateDataChannel("oai-events", nil)
	if err != nil {
		return err
	}
	offer, err := peer.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(peer)
	if err = peer.SetLocalDescription(offer); err != nil {
		return err
	}
	<-gathered
	reply, err := http.Post(url+"/v1/realtime/calls?agent="+agent, "application/sdp",
		strings.NewReader(peer.LocalDescription().SDP))
	if err != nil {
		return err
	}
	answer, _ := io.ReadAll(reply.Body)
	if reply.StatusCode != 201 {
		return fmt.Errorf("HTTP %d: %s", reply.StatusCode, answer)
	}
	began := time.Now()
	description := webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}
	if err = peer.SetRemoteDescription(description); err != nil {
		return err
	}
	if err = echo(channel, [][]byte{bytes.Repeat([]byte("x"), 1), bytes.Repeat([]byte("x"), 1100),
		bytes.Repeat([]byte("x"), 16384), bytes.Repeat([]byte("x"), 65000)}, found, began); err != nil {
		return err
	}
	pair, err := peer.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
	if err != nil {
		return err
	}
	if found.Protocol = pair.Remote.Protocol.String(); found.Protocol != protocol {
		return fmt.Errorf("the path is over %s", found.Protocol)
	}
	for number := 0; number < 20; number++ {
		retransmits, unordered := uint16(3), false
		options := &webrtc.DataChannelInit{}
		if number%2 == 1 {
			options = &webrtc.DataChannelInit{MaxRetransmits: &retransmits, Ordered: &unordered}
		}
		other, err := peer.CreateDataChannel(fmt.Sprintf("channel %d", number), options)
		if err != nil {
			return err
		}
		if err = echo(other, [][]byte{{byte(number), 1, 2}}, nil, time.Now()); err != nil {
			return fmt.Errorf("channel %d: %w", number, err)
		}
		if err = other.Close(); err != nil {
			return err
		}
		time.Sleep(300 * time.Millisecond)
	}
	return echo(channel, [][]byte{[]byte("still here")}, nil, time.Now())
}

func echo(channel *webrtc.DataChannel, messages [][]byte, found *result, began time.Time) error {
	opened, came := make(chan struct{}), make(chan []byte, 10)
	channel.OnMessage(func(message webrtc.DataChannelMessage) { came <- message.Data })
	channel.OnOpen(func() { close(opened) })
	if channel.ReadyState() != webrtc.DataChannelStateOpen {
		select {
		case <-opened:
		case <-time.After(15 * time.Second):
			return fmt.Errorf("the channel did not open")
		}
	}
	if found != nil {
		found.OpenedMs = time.Since(began).Milliseconds()
	}
	for _, message := range messages {
		if err := channel.Send(message); err != nil {
			return err
		}
		select {
		case back := <-came:
			if !bytes.Equal(back, message) {
				return fmt.Errorf("%d bytes came back of %d", len(back), len(message))
			}
			if found != nil {
				found.Echoed = append(found.Echoed, len(back))
			}
		case <-time.After(15 * time.Second):
			return fmt.Errorf("a message of %d bytes did not come back", len(message))
		}
	}
	return nil
}
